"""The folder: whole files, one table without formulas, nothing that tells a time."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.desk.networks import Placed
from relay.desk.networks.folder import Folder
from relay.errors import CantTakeDown, PostRefused
from tests.desk.networks.conftest import MakePost

Row = dict[str, str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posts"


def table(path: Path) -> list[Row]:
    text = (path / "posts.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_post_is_three_files_and_a_row(path: Path, make_post: MakePost) -> None:
    folder = Folder(path)
    post = make_post("Say it:\n“now”, 自由")
    prepared = folder.prepare(post, "b7")
    assert not path.exists()
    placed = folder.publish(post, "b7", prepared)
    assert sorted(one.name for one in path.iterdir()) == [
        "b7-alt.txt",
        "b7.jpg",
        "b7.txt",
        "posts.csv",
    ]
    assert (path / "b7.jpg").read_bytes() == post.picture.jpeg
    assert (path / "b7.txt").read_text() == post.text
    assert (path / "b7-alt.txt").read_text() == post.picture.alt
    assert (path / "posts.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert table(path) == [
        {"picture": "b7.jpg", "caption": post.text, "alt": post.picture.alt, "language": "en"}
    ]
    assert placed.url == f"file://{path}/b7.jpg"


def test_nobody_else_reads_it_and_no_file_tells_a_day(path: Path, make_post: MakePost) -> None:
    folder = Folder(path)
    folder.publish(make_post(), "b7", {})
    folder.publish(make_post(), "a1", {})
    folder.take_down(Placed(uri="b7", url=""))
    assert path.stat().st_mode & 0o777 == 0o700
    for one in path.iterdir():
        assert one.stat().st_mode & 0o777 == 0o600
        assert one.stat().st_mtime == 315532800
    assert path.stat().st_mtime == 315532800


def test_the_same_key_twice_is_one_row_and_rows_are_not_in_the_order_they_came(
    path: Path, make_post: MakePost
) -> None:
    post = make_post()
    keys = ["c", "a", "b", "a", "c", "b"]
    with ThreadPoolExecutor(4) as threads:
        placed = [*threads.map(lambda key: Folder(path).publish(post, key, {}), keys)]
    assert [row["picture"] for row in table(path)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert placed[1] == placed[3] == Folder(path).find(post, "a", {})
    assert Folder(path).find(post, "d", {}) is None


def test_cut_off_before_its_row_it_is_not_posted_and_is_written_again(
    path: Path, make_post: MakePost
) -> None:
    post = make_post()
    Folder(path).publish(post, "a", {})
    (path / "b.jpg").write_bytes(b"half of a pict")
    (path / ".b.jpg.part").write_bytes(b"half")
    assert Folder(path).find(post, "b", {}) is None
    Folder(path).publish(post, "b", {})
    assert (path / "b.jpg").read_bytes() == post.picture.jpeg
    assert len(table(path)) == 2


def test_a_post_is_taken_down_and_twice_is_fine(path: Path, make_post: MakePost) -> None:
    folder = Folder(path)
    folder.take_down(Placed(uri="a", url=""))
    placed = folder.publish(make_post(), "a", {})
    folder.publish(make_post(), "b", {})
    folder.take_down(placed)
    folder.take_down(placed)
    assert [row["picture"] for row in table(path)] == ["b.jpg"]
    assert not [one for one in path.iterdir() if one.name.startswith("a")]


@pytest.mark.parametrize("key", ["", "../a", "a/b", "A", "-a", "a.b", "a\n", "x" * 65])
def test_a_key_is_no_path(path: Path, make_post: MakePost, key: str) -> None:
    folder = Folder(path)
    for step in (folder.prepare, lambda *a: folder.publish(*a, {}), lambda *a: folder.find(*a, {})):
        with pytest.raises(PostRefused):
            step(make_post(), key)
    with pytest.raises(CantTakeDown):
        folder.take_down(Placed(uri=key, url=""))
    assert not path.exists()


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(path: Path, make_post: MakePost, first: str) -> None:
    folder = Folder(path)
    folder.publish(make_post(f'{first}HYPERLINK("http://example.org")'), "a", {})
    folder.publish(make_post(), "b", {})  # the table is read, and written again
    assert table(path)[0]["caption"] == f'\'{first}HYPERLINK("http://example.org")'


@given(texts=st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=3))
def test_any_words_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any")
    folder = Folder(path)
    for number, text in enumerate(texts):
        folder._write_table(  # noqa: SLF001 - a picture for each would take long
            [
                *folder._read(),  # noqa: SLF001
                {"picture": f"{number}.jpg", "caption": text, "alt": text, "language": "en"},
            ]
        )
    assert [row["caption"] for row in table(path)] == texts


@pytest.mark.parametrize(
    "content", [b"\xff", b"a,b\r\n1,2\r\n", b"picture,caption\r\n", b"", b"\0"]
)
def test_a_table_of_another_program_is_left_alone(
    path: Path, make_post: MakePost, content: bytes
) -> None:
    path.mkdir(mode=0o700)
    (path / "posts.csv").write_bytes(content)
    with pytest.raises(PostRefused, match="another program"):
        Folder(path).publish(make_post(), "a", {})
    assert (path / "posts.csv").read_bytes() == content
    (path / "posts.csv").unlink()
    Folder(path).publish(make_post(), "a", {})
