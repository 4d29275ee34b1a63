"""Fixtures: a made-up campaign, the real service as a process, the commands as a person types them.

Servers listen on loopback. No test sleeps: each waits for a condition.
"""

import asyncio
import html
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from relay.cli.campaign import make_campaign
from relay.queue.store import SealedQueue
from tests import photos
from tests import postgres as postgresql
from tests.promises import Keeper, find_excuse, is_strict

ROOT = Path(__file__).parent.parent
RELAY = str(Path(sys.executable).with_name("relay"))
SHARED = ROOT.parent / "shared"
# The relay, but for the limits that forbid anybody but root to look into it.
TRACEABLE = (
    "import sys; from relay.cli import main, server; server._set_limits = lambda: None; "
    "sys.exit(main())"
)
settings.register_profile("steady", deadline=None)  # a busy machine is no failure
settings.load_profile("steady")
KEYS = re.compile(r"(age1|relaysigner1|AGE-SECRET-KEY-|RELAY-SIGNER-SECRET-)\w[\w-]+")
FULL = bool(os.environ.get("RELAY_TEST_FULL"))


def tenth(count: int) -> int:
    """The length of a long test: whole with `scripts/test --full`, else a tenth."""
    return count if FULL else max(1, count // 10)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Keeper(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests through Tor to the end: five idle authorities take a quarter of a core."""
    items.sort(key=lambda item: item.nodeid.startswith("tests/tor/"))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Leave keys out of names: they are made anew in each process, and two must agree on names."""
    if isinstance(val, str) and KEYS.search(val):
        return KEYS.sub(r"\1...", val).encode("unicode_escape").decode()
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # noqa: ANN201, ARG001
    report = yield
    if report.skipped and is_strict() and not find_excuse(report, ROOT):
        report.outcome = "failed"
    return report


def wait_until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens. Of two processes that run tests, no two are given one."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port // 2 % workers == worker:  # by pairs: Linux gives these out odd, its own even
            return port


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def receipt(self) -> str:
        match = re.search(r'<output id="receipt">([\d ]+)</output>', self.text)
        assert match, self.text
        return match[1]


def multipart(parts: list[tuple[str, bytes, str | None]]) -> tuple[bytes, str]:
    """A form body: (name, content, file name or None) in the order given."""
    boundary = "x7boundary7x"
    body = b""
    for name, content, file_name in parts:
        extra = f'; filename="{file_name}"\r\nContent-Type: image/jpeg' if file_name else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Go where nobody is led by an answer."""

    def redirect_request(self, *_: object) -> None:
        return None


@dataclass
class Service:
    """`relay demo` as a real process, and a browser of few words."""

    folder: Path
    port: int
    wrapper: list[str] = field(default_factory=list)
    is_tls: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.folder.parent / "service.log"

    def start(self) -> None:
        self.launch()
        wait_until(self.answers, seconds=40)

    def launch(self) -> None:
        """Start it and don't wait."""
        listen = f"127.0.0.1:{self.port}"
        program = [sys.executable, "-c", TRACEABLE] if "strace" in self.wrapper else [RELAY]
        command = [*self.wrapper, *program, "demo", "--dir", str(self.folder), "--listen", listen]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=self.folder.parent)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_file.read_text()
        try:
            if self.is_tls:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            return self.get("/").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - our own loopback address
            self.url + path, data=body, headers=headers or {}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
        try:
            with opener.open(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def token(self) -> str:
        match = re.search(r'name="token" value="([^"]+)"', self.get("/en/").text)
        assert match
        return match[1]

    def send(self, photo: bytes, *, token: str | None = None, **fields: str) -> Answer:
        token = token or self.token()
        parts: list[tuple[str, bytes, str | None]] = [("token", token.encode(), None)]
        parts += [(name, value.encode(), None) for name, value in fields.items()]
        parts.append(("photo", photo, photos.FILE_NAME))
        body, kind = multipart(parts)
        return self.request("POST", "/en/", body, {"Content-Type": kind})

    def press(self, page: Answer, do: str = "send", *ticks: str, looked: bool = True) -> Answer:
        """Press a button of a cover page with these boxes ticked besides those that were."""
        form = re.search(r'<form id="cover".*?</form>', page.text, re.DOTALL)
        assert form, page.text
        fields = []
        for tag in re.findall(r"<input[^>]*>", form[0]):
            name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
            assert name
            if "hidden" in tag or " checked" in tag:
                fields.append((name[1], html.unescape(value[1]) if value else "on"))
        fields += [(tick, "on") for tick in (*ticks, *(["looked"] if looked else []))]
        body = urllib.parse.urlencode([*fields, ("do", do)]).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", "/en/cover", body, kind)

    def send_on(self, photo: bytes, **fields: str) -> Answer:
        """Send a photo with everything covered that is found in it."""
        answer = self.send(photo, **fields)
        return self.press(answer) if 'id="cover"' in answer.text else answer

    def post_receipt(self, page: str, receipt: str) -> Answer:
        body = f"receipt={receipt.replace(' ', '+')}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", f"/en/{page}", body, kind)

    def desk(self, *arguments: str | Path, config: Path | None = None) -> "Result":
        config = config or self.folder / "desk.toml"
        return relay("desk", "--config", config, *arguments, cwd=self.folder.parent)


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        loaded = json.loads(self.out)
        assert isinstance(loaded, dict)
        return loaded


def relay(*arguments: str | Path, cwd: Path | None = None, stdin: str | None = None) -> Result:
    """Run a command as a person would, without a terminal."""
    done = subprocess.run(
        [RELAY, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin or "",
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def at_terminal(command: list[str], typed: list[tuple[str, str]], *, cwd: Path) -> Result:
    """Run a command at a terminal of its own; type each answer when its prompt has appeared."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
    )
    os.close(terminal)
    shown = b""
    try:
        for prompt, answer in typed:
            while prompt.encode() not in shown:
                shown += os.read(controller, 4096)
            wait_until(lambda: not termios.tcgetattr(controller)[3] & termios.ECHO)
            os.write(controller, answer.encode() + b"\n")
            shown = b""
        while chunk := os.read(controller, 4096):
            shown += chunk
    except OSError:
        pass  # how Linux says that the terminal's last user has gone
    finally:
        os.close(controller)
    return Result(process.wait(timeout=60), shown.decode(), "")


@pytest.fixture(scope="session")
def campaign_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "demo"
    make_campaign(folder, campaign="demo", listen="127.0.0.1:8080", is_demo=True)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgresql.Postgres]:
    """A PostgreSQL of this run's own."""
    with postgresql.server() as running:
        yield running


# What runs on both databases: the rest of the desk's tests do with `scripts/test --full`.
ON_BOTH = {"test_desk", "test_questions", "test_add"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests of the desk run on SQLite and on PostgreSQL."""
    module = metafunc.module.__name__.split(".")
    is_one_file = metafunc.definition.get_closest_marker("one_file") is not None
    if "campaign" in metafunc.fixturenames and "desk" in module and not is_one_file:
        names = ["sqlite", "postgresql"] if FULL or module[-1] in ON_BOTH else ["sqlite"]
        metafunc.parametrize("database", names, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """Where the queue of the campaign lies."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def campaign(
    campaign_template: Path, tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> Path:
    """A demo campaign's folder, fresh for each test."""
    folder = Path(shutil.copytree(campaign_template, tmp_path / "demo"))
    if database == "postgresql":
        server: postgresql.Postgres = request.getfixturevalue("postgres")
        configure(folder, **server.configuration(server.create()))
    return folder


@pytest.fixture(scope="session")
def empty_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue as a first start makes it, which takes a fifth of that start's time."""
    path = tmp_path_factory.mktemp("queue") / "queue.sqlite"

    async def make() -> None:
        async with SealedQueue.open(path, max_queued=1):
            pass

    asyncio.run(make())
    return path


Starter = Callable[..., Service]


@pytest.fixture
def start_service(campaign: Path, empty_queue: Path) -> Iterator[Starter]:
    """Start the relay on the test's campaign: `start_service(wrapper=[…], max_queued=2)`.

    Keywords but `wrapper` are settings for relay.toml. All are gone when the test ends.
    """
    started = []

    def start(wrapper: list[str] | None = None, **settings: object) -> Service:
        configure(campaign, **settings)
        if not (campaign / "queue.sqlite").exists():
            shutil.copy(empty_queue, campaign)
        is_tls = "tls_key" in settings
        running = Service(campaign, free_port(), wrapper=wrapper or [], is_tls=is_tls)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.kill()


def configure(folder: Path, *, name: str = "relay.toml", **settings: object) -> None:
    """Set settings in relay.toml."""
    path = folder / name
    lines = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in settings]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def service(start_service: Starter) -> Service:
    """The running relay, fresh for each test."""
    return start_service()


@pytest.fixture(scope="module")
def shared_service(
    campaign_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One running relay for the tests of a module that leave no trace in each other."""
    folder = tmp_path_factory.mktemp("shared") / "demo"
    running = Service(Path(shutil.copytree(campaign_template, folder)), free_port())
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def lasting(
    campaign_template: Path, empty_queue: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Starter]:
    """Relays that run for a whole module, one for each way in which it is called.

    `lasting(max_queued=2)` is as `start_service(max_queued=2)` has it, as if nobody had used it
    yet: queue, log and desk are empty. For tests that change nothing else of it. `prepare` is
    called with the folder before the first start.
    """
    kept: dict[str, Lasting] = {}

    def find(
        wrapper: list[str] | None = None,
        prepare: Callable[[Path], object] | None = None,
        **settings: object,
    ) -> Service:
        key = repr((wrapper, prepare, settings))
        if key in kept:
            kept[key].empty()
        else:
            folder = tmp_path_factory.mktemp("lasting") / "demo"
            shutil.copytree(campaign_template, folder)
            shutil.copy(empty_queue, folder)
            if prepare is not None:
                prepare(folder)
            configure(folder, **settings)
            is_tls = "tls_key" in settings
            running = Service(folder, free_port(), wrapper=wrapper or [], is_tls=is_tls)
            running.start()
            kept[key] = Lasting(running)
        return kept[key].service

    yield find
    for each in kept.values():
        each.service.kill()


class Lasting:
    """A relay that runs for many tests, and what its folder held when it began."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.files = {path: path.read_bytes() for path in self._files()}

    def _files(self) -> list[Path]:
        beside = [path for path in self.service.folder.rglob("*") if path.is_file()]
        return [path for path in beside if not path.name.startswith("queue.sqlite")]

    def empty(self) -> None:
        service = self.service
        assert service.process is not None
        if service.process.poll() is not None:
            service.start()
        with closing(sqlite3.connect(service.folder / "queue.sqlite", timeout=20)) as queue, queue:
            queue.execute("BEGIN IMMEDIATE")
            for table in ("submission", "envelope", "log"):
                queue.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            queue.execute("DELETE FROM marker WHERE name IN ('checkpoint', 'base')")
            held = (b'{"count": 0}',)
            queue.execute("UPDATE marker SET value = ? WHERE name = 'held'", held)
        for path in service.folder.parent.iterdir():
            if path.is_dir() and path != service.folder:
                shutil.rmtree(path)
            elif path.is_file() and path != service.log_file:
                path.unlink()
        for path in {*self._files()} - self.files.keys():
            path.unlink()
        for path, content in self.files.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
        os.truncate(service.log_file, 0)


@pytest.fixture
def dirty() -> bytes:
    return photos.dirty_jpeg()
