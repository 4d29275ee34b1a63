"""What of Mastodon's API a desk asks, with what matters of Mastodon's manners.

Source: docs.joinmastodon.org; app/services/post_status_service.rb for keys and attachments.
"""

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any

from tests.desk.networks.stand_in import Answer, Question, StandIn

TOKEN = "token-made-up-for-a-test"
NAME = "campaign"
_REFUSED = Answer(status=401, body={"error": "The access token is invalid"})
_NOT_THERE = Answer(status=404, body={"error": "Record not found"})


@dataclass
class Media:
    number: str
    jpeg: bytes
    alt: str
    looks_left: int
    status: str | None = None


@dataclass
class Status:
    number: str
    text: str
    language: str
    media: list[Media]
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class MastodonServer(StandIn):
    """works: how often an upload is answered "at work" before it is done."""

    token = TOKEN

    def __init__(self) -> None:
        super().__init__()
        self.max_characters = 500
        self.works = 1
        self.is_old = False  # posts words alone where a picture is not found
        self.statuses: dict[str, Status] = {}
        self.media: dict[str, Media] = {}
        self.keys: dict[str, str] = {}
        self._last = 112_000_000_000_000_000

    def posts(self) -> list[Status]:
        """Everything that stands there, the oldest first."""
        with self.lock:
            return list(self.statuses.values())

    def picture(self, number: int) -> bytes:
        """The bytes that the post shows."""
        return self.posts()[number].media[0].jpeg

    def answer(self, question: Question) -> Answer:
        where = (question.method, question.path.rstrip("/"))
        if where == ("GET", "/api/v2/instance"):
            limits = {"statuses": {"max_characters": self.max_characters}}
            return Answer(body={"version": "4.5.0", "configuration": limits})
        if match := re.fullmatch(r"/files/(\w+)\.jpg", question.path):
            found = self.media.get(match[1])
            return Answer(body=found.jpeg, headers=_JPEG) if found else _NOT_THERE
        if question.token != TOKEN:
            return _REFUSED
        views = {
            ("POST", "/api/v2/media"): self._upload,
            ("GET", "/api/v1/accounts/verify_credentials"): self._who,
            ("GET", "/api/v1/accounts/1/statuses"): self._list,
            ("POST", "/api/v1/statuses"): self._post,
        }
        if where in views:
            return views[where](question)
        match = re.fullmatch(r"/api/v1/(media|statuses)/(\w+)", question.path)
        return self._one(question.method, match[1], match[2]) if match else _NOT_THERE

    def _who(self, _: Question) -> Answer:
        return Answer(body={"id": "1", "username": NAME, "acct": NAME})

    def _one(self, method: str, kind: str, number: str) -> Answer:
        if (method, kind) == ("GET", "media") and number in self.media:
            return self._look(self.media[number])
        if (method, kind) == ("DELETE", "statuses") and number in self.statuses:
            status = self.statuses.pop(number)
            for media in status.media:
                self.media.pop(media.number, None)
            return Answer(body=self._status(status))
        return _NOT_THERE

    def _upload(self, question: Question) -> Answer:
        media = Media(
            number=self._next(),
            jpeg=question.files["file"],
            alt=question.one("description") or "",
            looks_left=self.works,
        )
        self.media[media.number] = media
        status = 202 if media.looks_left else 200
        return Answer(status=status, body=self._attachment(media))

    def _look(self, media: Media) -> Answer:
        if media.looks_left:
            media.looks_left -= 1
        return Answer(status=206 if media.looks_left else 200, body=self._attachment(media))

    def _post(self, question: Question) -> Answer:
        key = question.headers.get("idempotency-key", "")
        if key and (earlier := self.statuses.get(self.keys.get(key, ""))):
            return Answer(body=self._status(earlier))
        text = question.one("status") or ""
        if len(text) > self.max_characters:
            return _unfit("Validation failed: Text character limit exceeded")
        wanted = question.fields.get("media_ids[]", [])
        found = [self.media[number] for number in wanted if number in self.media]
        found = [media for media in found if media.status is None]
        if len(found) < len(wanted) and not self.is_old:
            return _unfit("Media not found or already attached to another post")
        if any(media.looks_left for media in found):
            return _unfit("Cannot attach files that have not finished processing.")
        status = Status(
            number=self._next(), text=text, language=question.one("language") or "", media=found
        )
        for media in found:
            media.status = status.number
        self.statuses[status.number] = status
        if key:
            self.keys[key] = status.number
        return Answer(body=self._status(status))

    def _list(self, question: Question) -> Answer:
        before = question.one("max_id")
        limit = min(int(question.one("limit") or 20), 40)
        is_media = question.one("only_media") in {"1", "true", "True"}
        statuses = [one for one in reversed(self.statuses.values()) if one.media or not is_media]
        if before:
            statuses = [one for one in statuses if int(one.number) < int(before)]
        return Answer(body=[self._status(one) for one in statuses[:limit]])

    def _next(self) -> str:
        self._last += 1
        return str(self._last)

    def _attachment(self, media: Media) -> dict[str, Any]:
        url = None if media.looks_left else f"{self.url}/files/{media.number}.jpg"
        return {"id": media.number, "type": "image", "url": url, "description": media.alt}

    def _status(self, status: Status) -> dict[str, Any]:
        return {
            "id": status.number,
            "account": {"id": "1", "username": NAME, "acct": NAME},
            "created_at": status.created.isoformat().replace("+00:00", "Z"),
            "url": f"{self.url}/@{NAME}/{status.number}",
            "uri": f"{self.url}/users/{NAME}/statuses/{status.number}",
            "content": status.text,
            "language": status.language,
            "visibility": "public",
            "media_attachments": [self._attachment(media) for media in status.media],
        }


_JPEG = {"Content-Type": "image/jpeg"}


def _unfit(message: str) -> Answer:
    return Answer(status=422, body={"error": message})
