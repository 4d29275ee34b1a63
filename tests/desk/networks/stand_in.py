"""A network on loopback: a server in a thread, with faults that are asked for."""

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import multipart


@dataclass(frozen=True, kw_only=True)
class Question:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    fields: dict[str, list[str]]
    files: dict[str, bytes]
    json: Any

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def one(self, name: str) -> str | None:
        return (self.fields.get(name) or self.query.get(name) or [None])[0]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Happens once, to the first question that fits.

    is_before: the connection is dropped before anything is done; is_after: when all is done.
    instead: what is answered, with nothing done.
    """

    method: str = "POST"
    path: str = ".*"
    is_before: bool = False
    is_after: bool = False
    instead: Answer | None = None


class StandIn:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stand_in = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        here = cls()
        here._thread.start()
        try:
            yield here
        finally:
            here._server.shutdown()
            here._server.server_close()
            here._thread.join()

    def answer(self, question: Question) -> Answer:
        raise NotImplementedError

    def fault(self, question: Question) -> Fault | None:
        for fault in self.faults:
            if fault.method == question.method and re.fullmatch(fault.path, question.path):
                self.faults.remove(fault)
                return fault
        return None


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # of one instant


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        stand_in: StandIn = self.server.stand_in  # type: ignore[attr-defined]
        question = self._read()
        with stand_in.lock:
            stand_in.asked.append(f"{question.method} {question.path}")
            fault = stand_in.fault(question)
            if fault and fault.is_before:
                self.close_connection = True
                return
            answer = fault.instead if fault and fault.instead else stand_in.answer(question)
        if fault and fault.is_after:
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> Question:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        fields: dict[str, list[str]] = {}
        files: dict[str, bytes] = {}
        if kind.startswith("multipart/"):
            form, parts = multipart.parse_form_data(
                {
                    "REQUEST_METHOD": "POST",
                    "CONTENT_TYPE": kind,
                    "CONTENT_LENGTH": str(len(body)),
                    "wsgi.input": io.BytesIO(body),
                },
                strict=True,
                spool_limit=1 << 24,  # or a file would be left open
                memory_limit=1 << 25,
            )
            fields = {name: form.getall(name) for name in form}
            files = {name: parts[name].raw for name in parts}
        elif kind.startswith("application/x-www-form-urlencoded"):
            fields = parse_qs(body.decode())
        address = urlsplit(self.path)
        return Question(
            method=self.command,
            path=address.path,
            query=parse_qs(address.query),
            headers={name.lower(): value for name, value in self.headers.items()},
            fields=fields,
            files=files,
            json=json.loads(body) if kind.startswith("application/json") else None,
        )
