"""A demo campaign whose staff post: photos that are open, read and released, and accounts."""

from dataclasses import dataclass, field
from pathlib import Path

from tests import photos
from tests.conftest import Answer, Result, Service
from tests.desk.networks.mastodon_server import TOKEN, MastodonServer
from tests.networks import Pds

WORDS = """
hashtag = "#HerVoice"
[handles]
default = "@campaign"
[en.kind]
general = "A poster for all."
[en.caption]
default = "{message}\\n\\n{poster} {handle} {hashtag}"
[en.alt]
default = "A person holds a poster in front of the face."
"""


@dataclass
class Campaign:
    """A relay that runs, and its one colleague."""

    service: Service
    receipts: dict[str, str] = field(default_factory=dict)  # by id

    @property
    def folder(self) -> Path:
        return self.service.folder

    @property
    def ids(self) -> list[str]:
        return sorted(self.receipts)

    def configure(self, **settings: object) -> None:
        path = self.folder / "desk.toml"
        lines = [
            line for line in path.read_text().splitlines() if line.split(" = ")[0] not in settings
        ]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        path.write_text("\n".join(lines) + "\n")

    def has_accounts(self, *tables: str) -> None:
        """Write accounts.toml, and settings by which nothing waits for another day."""
        (self.folder / "accounts.toml").write_text("\n".join(tables))
        (self.folder / "words.toml").write_text(WORDS)
        self.configure(
            accounts='"accounts.toml"',
            campaign_file='"words.toml"',
            same_day_post="true",
            min_batch=1,
            min_pause_minutes=0,
            max_pause_minutes=0,
        )

    def secret(self, name: str, secret: str) -> str:
        path = self.folder / name
        path.write_text(secret + "\n")
        path.chmod(0o600)
        return name

    def mastodon(self, server: MastodonServer, name: str = "main") -> str:
        token = self.secret(f"{name}-token", TOKEN)
        return f'[{name}]\nnetwork = "mastodon"\nserver = "{server.url}"\ntoken_file = "{token}"\n'

    def bluesky(self, pds: Pds) -> str:
        password = self.secret("app-password", pds.password)
        return (
            f'[sky]\nnetwork = "bluesky"\nserver = "{pds.url}"\n'
            f'identifier = "{pds.identifier}"\npassword_file = "{password}"\n'
        )

    def send(self, count: int, **fields: str) -> None:
        """Send photos, each with a message of its own, and pull and open them."""
        sent = {}
        for number in range(count):
            photo = photos.encode(photos.picture(320, 240, seed=len(self.receipts) + number))
            message = f"These are the words of number {len(self.receipts) + number}."
            chosen = {"message": message, "may_quote": "yes", "may_post": "yes", **fields}
            sent[message] = self.service.send_on(photo, **chosen).receipt
        self.receive(sent)

    def receive(self, sent: dict[str, str]) -> None:
        """Pull and open what was sent. sent: receipts by what stands in submission.json."""
        assert self.desk("pull", "--to", "sealed").code == 0
        assert self.desk("open", "sealed", "--to", "opened").code == 0
        for folder in (self.folder.parent / "opened").iterdir():
            text = (folder / "submission.json").read_text()
            for message, receipt in sent.items():
                if f'"{message}"' in text:
                    self.receipts[folder.name] = receipt

    def release(self, *ids: str) -> None:
        """Read the words and release them."""
        assert self.desk("caption", *(ids or self.ids)).code == 0
        assert self.desk("release", *(ids or self.ids)).code == 0

    def desk(self, *arguments: str | Path) -> Result:
        return self.service.desk(*arguments)

    def standing(self, submission_id: str) -> Answer:
        return self.service.post_receipt("receipt", self.receipts[submission_id])

    def withdraw(self, submission_id: str) -> None:
        answer = self.service.post_receipt("withdraw", self.receipts[submission_id])
        assert answer.status == 200
