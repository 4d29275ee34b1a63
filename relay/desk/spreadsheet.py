"""Text for a spreadsheet: lines that every spreadsheet reads, and no cell that it would carry out.

Source: OWASP, CSV injection; LibreOffice and Excel take their formulas in fullwidth signs too.
"""

import csv
import io
from collections.abc import Iterable, Sequence

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"  # else Excel takes UTF-8 for something older
_STARTS_A_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
# The joiners without which Persian and Hindi are misspelt.
_KEPT = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def encode_rows(rows: Iterable[Sequence[str]]) -> bytes:
    """Return the rows as CSV, in UTF-8 with a byte order mark; the texts may come from anybody."""
    file = io.StringIO()
    file.write(_BYTE_ORDER_MARK)
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
        [defused(cell) for cell in row] for row in rows
    )
    return file.getvalue().encode()


def defused(untrusted_text: str) -> str:
    """Return the text on one line, with an apostrophe before what would begin a formula."""
    lines = (c if c.isprintable() or c in _KEPT else " " for c in untrusted_text)
    text = " ".join("".join(lines).split(" "))
    starts = untrusted_text.startswith(_STARTS_A_FORMULA) or text.lstrip().startswith(
        _STARTS_A_FORMULA
    )
    return f"'{text}" if starts else text
