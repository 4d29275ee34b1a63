"""Scrubbing: pixels in, a clean JPEG out, in a process that holds one photo and nothing else."""
