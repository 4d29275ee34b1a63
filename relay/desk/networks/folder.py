"""A folder, for any network that we don't speak to: pictures, texts and one table. Exactly once.

What is named by the key is told by the key alone: no id, no time. The table holds no formula.
"""

import csv
import fcntl
import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.desk.copies import destroy_file
from relay.desk.journal import make_private, read_file, replace_file, unfinished
from relay.desk.networks import Placed, Post, check_post
from relay.desk.spreadsheet import marked
from relay.errors import CantTakeDown, Corrupt, PostFailed, PostRefused

TABLE = "posts.csv"
_COLUMNS = ("picture", "caption", "alt", "language")
_SUFFIXES = (".jpg", ".txt", "-alt.txt")
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_THAT_DAY = 315532800  # 1980-01-01, UTC, for every file: the day of none of them
_MOST_BYTES = 64 << 20
_ENCODING = "utf-8-sig"  # without a mark, spreadsheets guess
Row = dict[str, str]


class Folder:
    """One folder."""

    name = "folder"
    is_exactly_once = True
    most = 5000
    most_alt = 2000

    def __init__(self, path: Path) -> None:
        """Write to `path`; made at the first post."""
        self._path = path
        self._writing = threading.Lock()

    def count(self, text: str) -> int:
        """Count characters."""
        return len(text)

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Check the post; nothing is written before its instant."""
        check_post(self, post)
        _check_key(key)
        return {}

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Write its files, then its row in the table, by which it counts as posted."""
        _check_key(key)
        with self._alone():
            rows = self._read()
            if _has(rows, key):
                return self._placed(key)
            texts = (post.picture.jpeg, post.text.encode(), post.picture.alt.encode())
            for suffix, content in zip(_SUFFIXES, texts, strict=True):
                self._write(f"{key}{suffix}", content)
            row = (f"{key}.jpg", post.text, post.picture.alt, post.language)
            self._write_table([*rows, dict(zip(_COLUMNS, map(marked, row), strict=True))])
        return self._placed(key)

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Look for its row. Files without one, which a kill has left, are removed."""
        _check_key(key)
        if not self._path.is_dir():
            return None
        if _has(self._read(), key):
            return self._placed(key)
        with self._alone():
            self._remove_files(key)
        return None

    def take_down(self, placed: Placed) -> None:
        """Remove its files and its row; whoever has copied them has to be asked."""
        if not _KEY.fullmatch(placed.uri):
            raise CantTakeDown("This is not a post in a folder.")
        if not self._path.is_dir():
            return
        with self._alone():
            rows = self._read()
            left = [row for row in rows if row["picture"] != f"{placed.uri}.jpg"]
            if left != rows:
                self._write_table(left)
            self._remove_files(placed.uri)

    def _remove_files(self, key: str) -> None:
        """Remove its files, finished or not."""
        files = [self._path / f"{key}{suffix}" for suffix in _SUFFIXES]
        for file in (*files, *map(unfinished, files)):
            destroy_file(file)
        self._forget_time(self._path)

    def _placed(self, key: str) -> Placed:
        return Placed(uri=key, url=(self._path / f"{key}.jpg").absolute().as_uri())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and other programs of ours out."""
        with self._writing:
            try:
                with suppress(FileExistsError):  # another program of ours makes it too
                    make_private(self._path)
                make_private(self._path)
                descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise PostFailed(f"The folder can't be used: {error.strerror}.") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            except OSError as error:
                raise PostFailed(f"The folder can't be written: {error.strerror}.") from None
            finally:
                os.close(descriptor)

    def _read(self) -> list[Row]:
        try:
            untrusted_table = read_file(self._path / TABLE, max_bytes=_MOST_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PostFailed(f"{TABLE} can't be read: {error.strerror}.") from None
        except Corrupt as error:
            raise PostRefused(f"{TABLE}: {error.message}") from None
        try:
            table = csv.DictReader(io.StringIO(untrusted_table.decode(_ENCODING), newline=""))
            rows = list(table)
        except (UnicodeDecodeError, csv.Error):
            rows, is_ours = [], False
        else:
            is_ours = tuple(table.fieldnames or ()) == _COLUMNS and all(
                {*row} == {*_COLUMNS} and None not in row.values() for row in rows
            )
        if not is_ours:
            raise PostRefused(f"{TABLE} was changed by another program. Move it away.")
        return rows

    def _write_table(self, rows: list[Row]) -> None:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, _COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["picture"]))  # not as they came
        self._write(TABLE, table.getvalue().encode(_ENCODING))

    def _write(self, name: str, content: bytes) -> None:
        path = self._path / name
        replace_file(path, content)
        self._forget_time(path)
        self._forget_time(self._path)

    def _forget_time(self, path: Path) -> None:
        os.utime(path, (_THAT_DAY, _THAT_DAY))


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise PostRefused("A key is 1 to 64 small letters, digits and dashes.")


def _has(rows: list[Row], key: str) -> bool:
    return any(row["picture"] == f"{key}.jpg" for row in rows)
