"""The languages that a browser asks for: they order the list of those we have, and nothing else."""

import re
from collections.abc import Collection

_RANGE = re.compile(
    r"\s*([a-z]{2,3})((?:-[a-z0-9]{1,8})*)\s*(?:;\s*q=([01](?:\.[0-9]{1,3})?))?\s*", re.IGNORECASE
)
_LONGEST = 500  # characters; more is no browser's
_OURS = {"fa-af": "prs", "ku": "ckb"}  # what a browser may call them


def in_order_of(accept_language: str, codes: Collection[str]) -> list[str]:
    """Return `codes`, those first that the header of this name asks for, the most wanted first.

    Source: RFC 9110, section 12.5.4.
    """
    wanted: dict[str, float] = {}
    for one in accept_language[:_LONGEST].split(","):
        if match := _RANGE.fullmatch(one):
            short = match[1].lower()
            code = _OURS.get(short + match[2].lower(), _OURS.get(short, short))
            wanted[code] = max(wanted.get(code, 0.0), float(match[3] or 1))
    return sorted(codes, key=lambda code: -wanted.get(code, 0.0))
