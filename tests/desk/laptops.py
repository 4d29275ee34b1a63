"""Laptops with a desk each, keys of their own, and a stick that goes between them."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.cli.keys import make_keys
from relay.desk.manifest import NAME, Manifest
from relay.seal.files import load_signing_identity
from relay.seal.signing import SigningIdentity
from tests import photos
from tests.conftest import RELAY, Result, Service, Starter, relay

PASSPHRASE = "four words of hers"


@dataclass
class Laptop:
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "desk.toml"

    @property
    def journal_path(self) -> Path:
        return self.folder / "desk-journal.json"

    @property
    def journal(self) -> dict[str, Any]:
        return dict(json.loads(self.journal_path.read_text()))

    def identity(self) -> SigningIdentity:
        return load_signing_identity(self.folder / "signer.age", PASSPHRASE)

    @property
    def signer(self) -> str:
        return self.identity().signer().encoded

    def desk(self, *arguments: str | Path) -> Result:
        return relay("desk", "--config", self.config, *arguments, cwd=self.folder)

    def desk_killed_at(self, write: int, *arguments: str | Path) -> int:
        """Run a command that is killed (-9) where it syncs for the `write`th time.

        Each file is synced twice: before it is put into its place, and after.
        """
        inject = ["-e", "trace=fsync", "-e", f"inject=fsync:signal=KILL:when={write}"]
        command = ["strace", "-qq", "-o", os.devnull, *inject, RELAY, "desk", "--config"]
        done = subprocess.run(
            [*command, self.config, *arguments], cwd=self.folder, capture_output=True, check=False
        )
        return done.returncode

    def copy(self, to: Path) -> "Laptop":
        return Laptop(Path(shutil.copytree(self.folder, to)))

    def knows(self, *signers: str) -> None:
        (self.folder / "colleagues.txt").write_text("".join(f"{one}\n" for one in signers))


def make_laptop(folder: Path, campaign: Path | None, relay_line: str = "") -> Laptop:
    """A colleague's laptop; her keys go into the lists of `campaign`."""
    recipient, signer = make_keys(folder, PASSPHRASE, log_n=10)
    (folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    text = 'signer = "signer.age"\nidentity = "identity.age"\npassphrase_file = "passphrase"\n'
    (folder / "desk.toml").write_text(f'{relay_line}{text}staff = "colleagues.txt"\n')
    laptop = Laptop(folder)
    laptop.knows()
    if campaign is not None:
        for name, line in (("recipients.txt", recipient), ("staff.txt", signer.encoded)):
            with (campaign / name).open("a") as lines:
                lines.write(f"{line}\n")
    return laptop


@dataclass
class Round:
    """Two colleagues: one laptop speaks to the relay, the old one never does."""

    service: Service
    online: Laptop
    old: Laptop
    stick: Path
    receipts: dict[str, str]  # by id

    @property
    def ids(self) -> list[str]:
        return sorted(self.receipts)

    @property
    def manifest(self) -> Manifest:
        return read_statement(self.stick)

    def send(self, message: str) -> str:
        return self.service.send(photos.dirty_jpeg(), message=message).receipt

    def withdraw(self, submission_id: str) -> None:
        self.service.post_receipt("withdraw", self.receipts[submission_id])

    def pull(self) -> Result:
        return self.online.desk("pull", "--to", self.stick)

    def open(self) -> Result:
        return self.old.desk("open", self.stick, "--to", "opened")

    @property
    def opened(self) -> list[str]:
        folder = self.old.folder / "opened"
        return sorted(one.name for one in folder.iterdir()) if folder.exists() else []

    def envelope(self, submission_id: str) -> Path:
        return self.stick / f"{submission_id}.age"


def read_statement(stick: Path) -> Manifest:
    return Manifest.parse(json.loads((stick / NAME).read_text())["statement"])


def start_round(start_service: Starter, campaign: Path, home: Path, count: int = 3) -> Round:
    """`count` photos sent; nothing pulled."""
    old, online = make_laptop(home / "old", campaign), make_laptop(home / "online", campaign)
    old.knows(online.signer)
    online.knows(old.signer)
    service = start_service()
    desk = online.config.read_text()
    online.config.write_text(f'relay = "http://127.0.0.1:{service.port}"\n{desk}')
    receipts = {}
    for number in range(count):
        photo = photos.dirty_jpeg(photos.picture(seed=number))
        receipt = service.send(photo, message=f"n{number}", may_post="yes").receipt
        foreseen = online.desk("pull", "--to", "nowhere", "--dry-run", "--json").json["fetched"]
        (new,) = {*foreseen} - {*receipts}  # type: ignore[misc]
        receipts[str(new)] = receipt
    return Round(service, online, old, home / "stick", receipts)
