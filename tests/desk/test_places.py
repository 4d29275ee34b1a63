"""Where a desk does not write: others would get what lies there."""

from pathlib import Path

import pytest

from relay.desk.places import check_place
from relay.errors import UnsafePlace
from tests.conftest import Result, relay
from tests.envelopes import announce, seal

LOCAL = """\
22 28 0:21 / /proc rw,relatime - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
"""


def mounted(kind: str, source: str = "server:/home", where: str = "/home/a") -> str:
    """The kernel's table with one more drive, as proc_pid_mountinfo(5) describes it."""
    return f"{LOCAL}99 28 0:55 / {where} rw,nosuid shared:7 master:1 - {kind} {source} rw,vers=4\n"


@pytest.mark.parametrize(
    "name",
    [
        "Dropbox", "Dropbox (Work)", "dropbox", "OneDrive", "OneDrive - Campaign", "Google Drive",
        "GoogleDrive", "Nextcloud", "Nextcloud2", "ownCloud", "iCloud Drive", "MEGA", "MEGAsync",
        "pCloudDrive", "Seafile",
    ],
)  # fmt: skip
def test_a_folder_inside_a_synchronised_one_is_refused_by_its_name(
    tmp_path: Path, name: str
) -> None:
    for folder in (tmp_path / name, tmp_path / name / "posters" / "opened"):
        with pytest.raises(UnsafePlace, match="sends what lies here to other computers"):
            check_place(folder)
    assert not (tmp_path / name).exists(), "a look makes nothing"


@pytest.mark.parametrize(
    "name", ["posters", "mega-posters", "dropbox.txt", "my nextcloud notes", "cloud", "Sync"]
)
def test_a_name_that_only_looks_like_one_is_not(tmp_path: Path, name: str) -> None:
    check_place(tmp_path / name / "opened")


@pytest.mark.parametrize(
    ("marker", "named"),
    [
        (".stfolder", "Syncthing"),
        (".dropbox.cache", "Dropbox"),
        (".owncloudsync.log", "Nextcloud"),
        (".sync_0123456789ab.db", "Nextcloud"),
        ("._sync_0123456789ab.db", "Nextcloud"),
        (".seafile-data", "Seafile"),
    ],
)
@pytest.mark.parametrize("is_folder", [True, False])
def test_what_a_synchroniser_leaves_behind_gives_it_away(
    tmp_path: Path, marker: str, named: str, *, is_folder: bool
) -> None:
    shared = tmp_path / "shared"
    inside = shared / "posters" / "opened"
    inside.mkdir(parents=True)
    check_place(inside)
    (shared / marker).mkdir() if is_folder else (shared / marker).touch()
    for folder in (inside, inside / "not there yet", shared):
        with pytest.raises(UnsafePlace, match=named):
            check_place(folder)
    check_place(tmp_path / "beside")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "Dropbox").mkdir()
    (tmp_path / "posters").symlink_to(tmp_path / "Dropbox")
    with pytest.raises(UnsafePlace, match="Dropbox"):
        check_place(tmp_path / "posters" / "opened")


@pytest.mark.parametrize(
    "kind",
    [
        "nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "glusterfs", "davfs", "fuse.sshfs",
        "fuse.rclone", "fuse.davfs",
    ],
)  # fmt: skip
def test_a_drive_in_a_network_is_refused_and_named(kind: str) -> None:
    for folder in ("/home/a", "/home/a/posters/opened"):
        with pytest.raises(UnsafePlace, match=f"a drive in a network \\({kind}\\)"):
            check_place(Path(folder), mounted(kind))
    for folder in ("/home", "/home/ab/posters"):
        check_place(Path(folder), mounted(kind))


@pytest.mark.parametrize(
    "kind", ["ext4", "btrfs", "tmpfs", "9p", "overlay", "virtiofs", "fuse.ext4", "fuseblk", "fuse"]
)
def test_other_drives_are_not(kind: str) -> None:
    check_place(Path("/home/a/posters"), mounted(kind))


def test_the_drive_that_counts_is_the_nearest_and_the_last_that_was_mounted() -> None:
    stick = mounted("nfs") + mounted("vfat", "/dev/sdb1", "/home/a/stick").splitlines()[-1] + "\n"
    check_place(Path("/home/a/stick/posters"), stick)
    with pytest.raises(UnsafePlace):
        check_place(Path("/home/a/posters"), stick)
    over = mounted("nfs") + mounted("ext4").splitlines()[-1] + "\n"
    check_place(Path("/home/a/posters"), over)


def test_a_drive_with_a_space_in_its_name_and_one_that_hides_its_kind() -> None:
    with pytest.raises(UnsafePlace):
        check_place(Path("/media/our drive/x"), mounted("cifs", where="/media/our\\040drive"))
    with pytest.raises(UnsafePlace):
        check_place(Path("/home/a/x"), mounted("fuse", "https://dav.example.org/"))


def test_no_command_writes_there_unless_it_must(campaign: Path) -> None:
    def desk(*arguments: str) -> Result:
        return relay("desk", "--config", "demo/desk.toml", *arguments, cwd=campaign.parent)

    announce(campaign, seal(campaign))
    cloud = campaign.parent / "Nextcloud"
    for command in (("open", "sealed"), ("review", "sealed"), ("pull",)):
        refused = desk(*command, "--to", "Nextcloud/posters")
        assert refused.code == 14
        assert refused.err.splitlines()[-1] == (
            "relay: Nextcloud/posters: Nextcloud sends what lies here to other computers. Choose a "
            "folder on this laptop's own disk, or add --force."
        )
        assert not cloud.exists()
    assert desk("review", "sealed", "--to", "Nextcloud/posters", "--force").code == 0
    assert desk("open", "sealed", "--to", "Nextcloud/posters", "--force").code == 0
    unanswered = desk("pull", "--to", "Nextcloud/posters", "--force")
    assert "did not answer" in unanswered.err
