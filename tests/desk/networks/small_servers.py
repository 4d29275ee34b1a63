"""What of Facebook's and X's APIs a desk asks. Written from their documents, not from them."""

import re
from dataclasses import dataclass

from tests.desk.networks.stand_in import Answer, Question, StandIn

TOKEN = "token-made-up-for-a-test"
PAGE = "102030405060708"


@dataclass
class Shown:
    text: str
    alt: str
    jpeg: bytes


class _Small(StandIn):
    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, Shown] = {}
        self._last = 1000

    def posts(self) -> list[Shown]:
        with self.lock:
            return list(self.shown.values())

    def picture(self, number: int) -> bytes:
        return self.posts()[number].jpeg

    def _next(self) -> str:
        self._last += 1
        return str(self._last)


class FacebookServer(_Small):
    def answer(self, question: Question) -> Answer:
        if question.token != TOKEN:
            return _graph_error(400, 190)
        if (question.method, question.path) == ("POST", f"/v25.0/{PAGE}/photos"):
            number = f"{PAGE}_{self._next()}"
            self.shown[number] = Shown(
                text=question.one("caption") or "",
                alt=question.one("alt_text_custom") or "",
                jpeg=question.files["source"],
            )
            return Answer(body={"id": self._next(), "post_id": number})
        match = re.fullmatch(r"/v25\.0/([0-9_]+)", question.path)
        if question.method == "DELETE" and match:
            if self.shown.pop(match[1], None) is None:
                return _graph_error(400, 100, 33)
            return Answer(body={"success": True})
        return _graph_error(400, 100)


class XServer(_Small):
    def __init__(self) -> None:
        super().__init__()
        self.media: dict[str, Shown] = {}

    def answer(self, question: Question) -> Answer:
        if question.token != TOKEN:
            return Answer(status=401, body={"title": "Unauthorized", "status": 401})
        if question.method == "POST" and question.path == "/2/media/upload":
            number = self._next()
            self.media[number] = Shown(text="", alt="", jpeg=question.files["media"])
            return Answer(body={"data": {"id": number, "media_key": f"3_{number}"}})
        if question.method == "POST" and question.path == "/2/media/metadata":
            alt = question.json["metadata"]["alt_text"]["text"]
            self.media[question.json["id"]].alt = alt
            return Answer(body={"data": {"id": question.json["id"]}})
        if question.method == "POST" and question.path == "/2/tweets":
            [media] = question.json["media"]["media_ids"]
            number = self._next()
            picture = self.media[media]
            self.shown[number] = Shown(
                text=question.json["text"], alt=picture.alt, jpeg=picture.jpeg
            )
            return Answer(status=201, body={"data": {"id": number, "text": "…"}})
        match = re.fullmatch(r"/2/tweets/([0-9]+)", question.path)
        if question.method == "DELETE" and match and self.shown.pop(match[1], None):
            return Answer(body={"data": {"deleted": True}})
        return Answer(status=404, body={"title": "Not Found Error"})


def _graph_error(status: int, code: int, subcode: int = 0) -> Answer:
    error = {"message": "…", "type": "OAuthException", "code": code, "error_subcode": subcode}
    return Answer(status=status, body={"error": error})
