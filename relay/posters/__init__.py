"""Posters: the campaign's words as large as they fit on one sheet, in black on white.

A PDF that says nothing else: no clock, no program, no colour, the same bytes wherever it is made
from the same fonts. Imports neither queue nor seal; nothing of a submitter comes here.
"""
