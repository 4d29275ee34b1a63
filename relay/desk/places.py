"""Places from which photos leave this laptop: synchronised folders, and drives of other machines.

Source: what each program documents of its own folders and leaves in them; proc_pid_mountinfo(5).
"""

import re
from contextlib import suppress
from pathlib import Path

from relay.errors import UnsafePlace

# A folder's name, alone or with a number, an account or an organisation behind it: "Nextcloud2",
# "Dropbox (Work)", "OneDrive - Campaign".
_NAMES = re.compile(
    r"(?P<name>dropbox|onedrive|google ?drive|nextcloud|owncloud|icloud( ?drive)?|mega(sync)?"
    r"|p ?cloud( ?drive)?|seafile)\d*( [(-].*)?",
    re.IGNORECASE,
)
_MARKERS = {
    ".stfolder": "Syncthing",
    ".dropbox.cache": "Dropbox",
    ".owncloudsync.log": "ownCloud or Nextcloud",
    ".sync_*.db": "ownCloud or Nextcloud",
    "._sync_*.db": "ownCloud or Nextcloud",
    ".seafile-data": "Seafile",
}
_NETWORKS = {
    *("afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "lustre", "ncpfs"),
    *("nfs", "nfs4", "smb3", "smbfs"),
    *("fuse.ceph", "fuse.curlftpfs", "fuse.davfs", "fuse.davfs2", "fuse.gcsfuse"),
    *("fuse.glusterfs", "fuse.google-drive-ocamlfuse", "fuse.gvfsd-fuse", "fuse.kio-fuse"),
    *("fuse.onedriver", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs"),
}
_MOUNTINFO = Path("/proc/self/mountinfo")
_ELSEWHERE = "Choose a folder on this laptop's own disk, or add --force."


def check_place(folder: Path, mountinfo: str | None = None) -> None:
    """Return where what is written to `folder`, which need not be there yet, stays on this laptop.

    mountinfo: the kernel's table of mounted drives, where it is not this machine's.

    Raises:
        UnsafePlace: it would be copied to others; the message says what was seen.
    """
    place = folder.resolve()
    if name := _synchroniser_of(place):
        raise UnsafePlace(f"{folder}: {name} sends what lies here to other computers. {_ELSEWHERE}")
    if mountinfo is None:
        mountinfo = _MOUNTINFO.read_text("utf-8", "surrogateescape")
    if kind := _network_of(place, mountinfo):
        raise UnsafePlace(f"{folder}: this is a drive in a network ({kind}). {_ELSEWHERE}")


def _synchroniser_of(place: Path) -> str | None:
    for folder in (place, *place.parents):
        if match := _NAMES.fullmatch(folder.name):
            return match["name"]
        for marker, name in _MARKERS.items():
            with suppress(OSError):  # a folder that we may not list
                if any(folder.glob(marker)):
                    return name
    return None


def _network_of(place: Path, mountinfo: str) -> str | None:
    """Return the kind of network drive that `place` lies on; None where it lies on another."""
    kinds: dict[Path, str | None] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        where, (kind, source) = before.split()[4], after.split()[:2]
        # davfs2 calls itself plainly "fuse", and its source is an address.
        is_network = kind in _NETWORKS or (kind == "fuse" and "://" in source)
        kinds[Path(_unescape(where))] = kind if is_network else None
    return next((kinds[folder] for folder in (place, *place.parents) if folder in kinds), None)


def _unescape(word: str) -> str:
    r"""Return a path of mountinfo, in which a space is `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
