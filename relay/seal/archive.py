"""A ustar archive with fixed metadata: of a file it keeps name and content, and nothing else."""

import tarfile
from collections.abc import Collection, Mapping

from relay.errors import Corrupt

BLOCK = tarfile.BLOCKSIZE
END_BYTES = 2 * BLOCK
_FOREIGN = "The archive holds something that does not belong."


def _padded(length: int) -> int:
    """Return how much room a content of this length takes."""
    return -(-length // BLOCK) * BLOCK


def _member(name: str, content: bytes) -> bytes:
    """Return a file as it stands in an archive: mode 0600, no owner, no date."""
    info = tarfile.TarInfo(name)  # uid, gid, mtime 0 and empty owner names by default
    info.mode = 0o600
    info.size = len(content)
    header = info.tobuf(tarfile.USTAR_FORMAT)
    return header + content.ljust(_padded(len(content)), b"\0")


def _read_member(untrusted_archive: bytes, position: int) -> tuple[str, bytes, int]:
    """Return name and content of the file at `position`, and where the next one begins.

    Raises:
        Corrupt: there is none. The rest of its header is not looked at.
    """
    header = untrusted_archive[position : position + BLOCK]
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeError):
        raise Corrupt(_FOREIGN) from None
    position += BLOCK
    content = untrusted_archive[position : position + info.size]
    return info.name, content, position + _padded(info.size)


def pack(files: Mapping[str, bytes], length: int) -> bytes:
    """Return the files in their order, zero-padded to `length`.

    Raises:
        ValueError: they don't fit.
    """
    archive = b"".join(_member(name, content) for name, content in files.items())
    if len(archive) + END_BYTES > length:
        raise ValueError("too large for the archive")
    return archive.ljust(length, b"\0")


def packed_bytes(files: Mapping[str, bytes]) -> int:
    """Return how long an archive of these files is at least."""
    return sum(BLOCK + _padded(len(content)) for content in files.values()) + END_BYTES


def unpack(untrusted_archive: bytes, names: Collection[str]) -> dict[str, bytes]:
    """Return the files; their names are among `names`, each once.

    What was read is packed again and compared, so nothing else can ride along.

    Raises:
        Corrupt: anything but what `pack` makes.
    """
    files: dict[str, bytes] = {}
    position = 0
    while any(untrusted_archive[position : position + BLOCK]):
        name, content, position = _read_member(untrusted_archive, position)
        if name not in names or name in files:
            raise Corrupt(_FOREIGN)
        files[name] = content
    try:
        is_canonical = pack(files, len(untrusted_archive)) == untrusted_archive
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise Corrupt(_FOREIGN)
    return files
