"""ASCII armor, for age files that pass through text. Pure codec: it knows no key and no policy.

Source: C2SP age.md, "ASCII armor"; RFC 7468, section 3, strict form. Key files may be armored.
Envelopes never are: armor lets one file be written in several ways (line ends, white space around
it), and an envelope is known by the hash of its bytes.
"""

import base64
import binascii

from relay.errors import Corrupt

_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
_END = b"-----END AGE ENCRYPTED FILE-----\n"
_LINE_BYTES = 48  # 64 characters
_WHITE_SPACE = b" \t\r\n"


def encode(age_file: bytes) -> bytes:
    """Return `age_file` in armor: 64 columns, LF, padded base64."""
    lines = [
        base64.b64encode(age_file[start : start + _LINE_BYTES]) + b"\n"
        for start in range(0, len(age_file), _LINE_BYTES)
    ]
    return b"".join([_BEGIN, *lines, _END])


def is_armored(untrusted_file: bytes) -> bool:
    """Whether it means to be armored: no binary age file begins like this."""
    return untrusted_file.lstrip(_WHITE_SPACE).startswith(b"-----BEGIN ")


def decode(untrusted_text: bytes) -> bytes:
    """Return the age file inside armor.

    Lines may end in CRLF, white space may stand before and after. For the rest, what was read is
    written again and compared, so there is one way only to write a file.

    Raises:
        Corrupt: anything but what `encode` makes.
    """
    text = untrusted_text.strip(_WHITE_SPACE).replace(b"\r\n", b"\n") + b"\n"
    body = text.removeprefix(_BEGIN).removesuffix(_END)
    try:
        age_file = base64.b64decode(body)
    except binascii.Error:
        age_file = b""
    if encode(age_file) != text:
        raise Corrupt("The armor is damaged.")
    return age_file
