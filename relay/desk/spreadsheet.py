"""Text for a spreadsheet: lines that every spreadsheet reads, and no cell that it would carry out.

Source: OWASP, CSV Injection, which names fullwidth signs too.
"""

import csv
import io
import string
import unicodedata
from collections.abc import Iterable, Sequence

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"  # else Excel takes UTF-8 for something older
_STARTS_A_FORMULA = ("=", "+", "-", "@")
# The joiners without which Persian and Hindi are misspelt.
_KEPT = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_SKIPPED = string.whitespace + _KEPT  # what may stand before one


def encode_rows(rows: Iterable[Sequence[str]]) -> bytes:
    """Return the rows as CSV, in UTF-8 with a byte order mark; the texts may come from anybody."""
    file = io.StringIO()
    file.write(_BYTE_ORDER_MARK)
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([defused(cell) for cell in row] for row in rows)
    return file.getvalue().encode()


def defused(untrusted_text: str) -> str:
    """Return the text on one line, with an apostrophe before what would begin a formula."""
    seen = (c if c.isprintable() or c in _KEPT else " " for c in untrusted_text)
    return marked(" ".join("".join(seen).split()))


def marked(untrusted_text: str) -> str:
    """Return the text, with an apostrophe before what would begin a formula."""
    plain = unicodedata.normalize("NFKC", untrusted_text).lstrip(_SKIPPED)
    is_formula = plain.startswith(_STARTS_A_FORMULA) or untrusted_text.startswith(("\t", "\r"))
    return f"'{untrusted_text}" if is_formula else untrusted_text
