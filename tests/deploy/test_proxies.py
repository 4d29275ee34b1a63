"""nginx and Caddy as an operator gets them, with our snippets, in front of the real relay."""

import contextlib
import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from relay.web.headers import FIXED
from tests import photos
from tests.conftest import (
    RELAY,
    ROOT,
    Answer,
    Service,
    configure,
    free_port,
    multipart,
    wait_until,
)
from tests.web.test_forensics import family, memory_of

MIB = 1 << 20
NAME = "poster.example.org"
SENDER = "127.77.77.77"  # of this machine too, and told from every other address
HERS = (SENDER, "CANARYPATH", "CANARYAGENT", "203.0.113.9")
SOCKET = "/run/poster-relay/web.sock"
SNIPPETS = {"nginx": ROOT / "deploy/proxy/nginx.conf", "caddy": ROOT / "deploy/proxy/Caddyfile"}
# What an operator may have around it, at its worst: everything logged, everything compressed.
NGINX = """
daemon off;
worker_processes 1;
{user}
env GLIBC_TUNABLES;
pid {folder}/nginx.pid;
error_log {folder}/logs/error.log info;
events {{}}
http {{
    access_log {folder}/logs/access.log;
    gzip on;
    gzip_proxied any;
    gzip_min_length 1;
    client_body_temp_path {folder}/spool/body;
    proxy_temp_path {folder}/spool/proxy;
    fastcgi_temp_path {folder}/spool/fastcgi;
    uwsgi_temp_path {folder}/spool/uwsgi;
    scgi_temp_path {folder}/spool/scgi;
    include {folder}/snippet.conf;
}}
"""
CADDY = """{
	debug
	admin off
	auto_https off
	default_bind 127.0.0.1
"""


def exchange(text: str, pairs: dict[str, str]) -> str:
    """The text with other words; each old one has to be there."""
    for old, new in pairs.items():
        assert old in text, f"the snippet lacks {old!r}"
        text = text.replace(old, new)
    return text


@dataclass
class Proxy:
    """A proxy that runs as an operator would run it, and what it leaves in its folder."""

    kind: str
    folder: Path
    changes: dict[str, str] = field(default_factory=dict)
    wrapper: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def upstream(self) -> Path:
        return self.folder / "web.sock"

    def start(self) -> None:
        for name in ("logs", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        about = ("-nodes", "-days", "2", "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{NAME}")
        files = ("-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem")
        subprocess.run([*make, *about, *files], check=True, capture_output=True)
        snippet = exchange(SNIPPETS[self.kind].read_text(), self.changes)
        command = self._write_nginx(snippet) if self.kind == "nginx" else self._write_caddy(snippet)
        with (self.folder / "logs/said").open("ab") as said:
            self.process = subprocess.Popen(
                [*self.wrapper, *command],
                stdout=said,
                stderr=said,
                env={**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)},
            )
        wait_until(self._listens)

    def _write_nginx(self, snippet: str) -> list[str]:
        certificate = f"/etc/letsencrypt/live/{NAME}"
        changes = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "    listen [::]:443 ssl default_server;\n": "",
            f"{certificate}/fullchain.pem": f"{self.folder}/cert.pem",
            f"{certificate}/privkey.pem": f"{self.folder}/key.pem",
            SOCKET: str(self.upstream),
        }
        (self.folder / "snippet.conf").write_text(exchange(snippet, changes))
        user = "user root;" if os.getuid() == 0 else ""  # else it gives up the right to our folder
        (self.folder / "nginx.conf").write_text(NGINX.format(folder=self.folder, user=user))
        early = str(self.folder / "logs/early.log")
        return ["nginx", "-p", str(self.folder), "-e", early, "-c", f"{self.folder}/nginx.conf"]

    def _write_caddy(self, snippet: str) -> list[str]:
        tls = f"\ttls {self.folder}/cert.pem {self.folder}/key.pem\n"
        # The first line alone that is nothing but an opening brace is the global block's.
        changes = {
            "\n{\n": "\n" + CADDY,
            f"\n{NAME} {{\n": f"\n{NAME}:{self.port} {{\n{tls}",
            SOCKET: str(self.upstream),
        }
        (self.folder / "Caddyfile").write_text(exchange(snippet, changes))
        return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{self.folder}/Caddyfile"]

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.logs
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT if self.kind == "nginx" else signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            finally:
                self.process.kill()
                self.process.wait()

    @property
    def logs(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "logs").iterdir())

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "cert.pem"))


class Sender(http.client.HTTPSConnection):
    """A browser at an address of its own."""

    here: ClassVar[list["Sender"]] = []

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(NAME, timeout=60)
        self.here.append(self)
        self.proxy = proxy

    def connect(self) -> None:
        address = ("127.0.0.1", self.proxy.port)
        plain = socket.create_connection(address, timeout=60, source_address=(SENDER, 0))
        self.sock = self.proxy.context.wrap_socket(plain, server_hostname=NAME)


class Front(Service):
    """The relay on its socket, reached through a proxy alone."""

    proxy: Proxy

    def start(self) -> None:
        configure(self.folder, listen=f'"unix:{self.proxy.upstream}"', host=f'"{NAME}"')
        command = [RELAY, "serve", "--config", str(self.folder / "relay.toml")]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=self.folder.parent)
        wait_until(self.proxy.upstream.exists, seconds=40)
        wait_until(self.answers)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sender = Sender(self.proxy)
        try:
            sender.request(method, path, body, headers or {})
            answer = sender.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            sender.close()


@pytest.fixture(autouse=True)
def see_off() -> Iterator[None]:
    yield
    for sender in Sender.here:
        sender.close()
    Sender.here.clear()


StartProxy = Callable[..., Proxy]
StartFront = Callable[..., Front]


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    started = []

    def start(kind: str, **options: object) -> Proxy:
        proxy = Proxy(kind, tmp_path / "proxy", **options)  # type: ignore[arg-type]
        started.append(proxy)
        proxy.start()
        return proxy

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def start_front(start_proxy: StartProxy, campaign: Path) -> Iterator[StartFront]:
    started = []

    def start(kind: str, **options: object) -> Front:
        front = Front(campaign, 0)
        front.proxy = start_proxy(kind, **options)
        started.append(front)
        front.start()
        return front

    yield start
    for front in started:
        front.kill()


kinds = pytest.mark.parametrize("kind", SNIPPETS)


@kinds
def test_a_photo_goes_through_and_the_answers_stay_the_relays(
    start_front: StartFront, kind: str, dirty: bytes
) -> None:
    front = start_front(kind)
    assert front.send(dirty, message="CANARYMESSAGE").receipt
    zipped = {"Accept-Encoding": "gzip, br, zstd, deflate"}
    for path, status in (("/en/", 200), ("/", 200), ("/nowhere", 404), ("/desk/v1/x", 404)):
        answer = front.request("GET", path, headers=zipped)
        assert answer.status == status
        assert answer.headers.items() >= FIXED.items(), "Server too"
        assert answer.headers["Date"].endswith(" 00:00:00 GMT")
        assert answer.headers["Strict-Transport-Security"] == "max-age=0", "no trace"
        told = {"content-encoding", "via", "alt-svc", "set-cookie"}
        assert not told & {name.lower() for name in answer.headers}
    assert front.request("PUT", "/en/").status == 405
    crossed = {"Sec-Fetch-Site": "cross-site", "Content-Type": "multipart/form-data; boundary=x"}
    assert front.request("POST", "/en/", b"--x--", crossed).status == 403
    other = front.request("GET", "/en/", headers={"Host": "other.example.org"})
    assert b"<form" not in other.body


@kinds
def test_the_largest_photo_goes_through_and_a_larger_one_gets_the_relays_page(
    start_front: StartFront, kind: str
) -> None:
    front = start_front(kind)
    photo = photos.dirty_jpeg()
    assert front.send(photo + bytes(25 * MIB - len(photo))).receipt
    answer = front.send(bytes(26 * MIB), message="her words")
    assert answer.status == 413
    assert "her words" in answer.text


@kinds
def test_an_upload_with_long_pauses_arrives(
    start_front: StartFront, kind: str, dirty: bytes
) -> None:
    front = start_front(kind)
    token = front.token().encode()
    body, content = multipart([("token", token, None), ("photo", dirty, "x.jpg")])
    sender = Sender(front.proxy)
    sender.putrequest("POST", "/en/")
    sender.putheader("Content-Type", content)
    sender.putheader("Content-Length", str(len(body)))
    sender.endheaders()
    step = len(body) // 4 + 1
    for start in range(0, len(body), step):
        sender.sock.settimeout(3)
        with pytest.raises(TimeoutError):  # else it hung up, or answered half a photo
            sender.sock.recv(1)
        sender.sock.settimeout(60)
        sender.send(body[start : start + step])
    answer = sender.getresponse()
    assert answer.status == 200
    assert b'id="receipt"' in answer.read()
    sender.close()


@kinds
def test_whoever_hangs_up_leaves_the_relay_no_upload(
    start_front: StartFront, kind: str, dirty: bytes
) -> None:
    front = start_front(kind)
    photo = dirty + os.urandom(MIB)  # more than a proxy waits for before it speaks to the relay
    body, content = multipart([("token", front.token().encode(), None), ("photo", photo, "x.jpg")])
    sender = Sender(front.proxy)
    sender.putrequest("POST", "/en/")
    sender.putheader("Content-Type", content)
    sender.putheader("Content-Length", str(len(body)))
    sender.endheaders(body[:-10])
    wait_until(lambda: connected_to(front.proxy.upstream))
    before = connected_to(front.proxy.upstream)
    sender.close()
    wait_until(lambda: connected_to(front.proxy.upstream) < before)


def connected_to(path: Path) -> int:
    """How many hold a connection that came in by this socket."""
    return sum(
        line.endswith(f" {path}") and line.split()[5] == "03"
        for line in Path("/proc/net/unix").read_text().splitlines()
    )


# -- what is written ------------------------------------------------------------------------------


CALLS = (
    "openat,?open,?creat,memfd_create,?mkdir,mkdirat,write,writev,pwrite64,pwritev,pwritev2,"
    "sendfile,splice,vmsplice,io_uring_setup,io_submit,copy_file_range,ftruncate"
)


def send_traced(start_front: StartFront, kind: str, folder: Path, **options: object) -> list[str]:
    """Send much through a proxy; return its calls that bring bytes to a file, but for /dev/null."""
    trace = folder / "trace"
    wrapper = ["strace", "-D", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace)]
    front = start_front(kind, wrapper=wrapper, **options)
    token = front.token()
    before = len(trace.read_text().splitlines())
    large = photos.dirty_jpeg() + os.urandom(6 * MIB)
    assert front.send(large, token=token, message="CANARYMESSAGE").receipt
    assert front.send(b"no photo", message="CANARYMESSAGE").status == 415
    sender = Sender(front.proxy)
    sender.putrequest("POST", "/en/")
    sender.putheader("Content-Length", "9000000")
    sender.endheaders(large[: 3 * MIB])
    sender.close()
    front.proxy.stop()
    assert f"{front.proxy.folder}/cert.pem" in trace.read_text(), "it follows the proxy"
    lines = trace.read_text().splitlines()[before:]
    passed_on = [line for line in lines if re.search(r"(write|writev)\(\d+<(socket|UNIX)", line)]
    assert len(passed_on) > 100, "and the one that passes bodies on"
    written = r"\b(p?writev?2?|pwrite64|sendfile|ftruncate|copy_file_range)\(\d+</(?!dev/null>)"
    opened = r"O_WRONLY|O_RDWR|O_CREAT|creat\(|memfd_create|mkdir|io_uring|io_submit|splice\("
    return [line for line in lines if re.search(f"{written}|{opened}", line)]


@kinds
def test_no_byte_of_a_body_reaches_a_file_of_the_proxy(
    start_front: StartFront, kind: str, tmp_path: Path
) -> None:
    written = send_traced(start_front, kind, tmp_path)
    logs = [line for line in written if f"<{tmp_path}/proxy/logs/" in line]
    assert not [line for line in logs if re.search("CANARY|JFIF|Exif", line)]
    assert set(written) == set(logs)


def test_the_trace_sees_a_body_that_is_spooled(start_front: StartFront, tmp_path: Path) -> None:
    spooling = {"proxy_request_buffering off;": ""}
    written = send_traced(start_front, "nginx", tmp_path, changes=spooling)
    assert any("/spool/body/" in line for line in written)


# -- what is logged -------------------------------------------------------------------------------


def make_trouble(front: Front) -> None:
    """Everything that could make a proxy write down who it was."""
    headers = {"User-Agent": "CANARYAGENT", "X-Forwarded-For": "203.0.113.9"}
    front.request("GET", "/en/CANARYPATH?receipt=CANARYPATH", headers=headers)
    front.request("GET", "/en/", headers={**headers, "Host": "CANARYPATH.example.org"})
    front.request("PUT", "/CANARYPATH", headers=headers)
    for raw in (
        b"GET /CANARYPATH HTTP/9.9\r\n\r\n",
        b"CANARYPATH\r\n\r\n",
        b"GET /CANARYPATH HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /CANARYPATH HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 2 * MIB + b"\r\n\r\n",
        b"POST /CANARYPATH HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n",
        b"POST /CANARYPATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        sender = Sender(front.proxy)
        sender.connect()
        sender.sock.settimeout(3)  # some wait for the rest, which is as well
        with contextlib.suppress(OSError):  # it hung up, which is an answer
            sender.sock.sendall(raw.replace(b"Host: x", f"Host: {NAME}".encode()))
            sender.sock.recv(65536)
        sender.close()
    for raw in (b"", b"GET /CANARYPATH HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01CANARYPATH"):
        address = ("127.0.0.1", front.proxy.port)
        with socket.create_connection(address, timeout=5, source_address=(SENDER, 0)) as client:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                client.recv(65536)
    sender = Sender(front.proxy)
    sender.putrequest("POST", "/en/?CANARYPATH")
    sender.putheader("Content-Length", "9000")
    sender.endheaders(b"half")
    assert sender.sock is not None
    sender.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sender.close()
    front.kill()
    down = front.request("POST", "/en/?CANARYPATH", b"x", headers)
    assert down.status in (502, 503)
    assert down.text.strip() == "The form is out of reach. Please come back later."
    assert down.headers["Cache-Control"] == "no-store"
    front.proxy.upstream.unlink(missing_ok=True)
    assert front.request("GET", "/en/?CANARYPATH", headers=headers).status in (502, 503)


@kinds
def test_no_log_of_the_proxy_holds_an_address_or_what_was_asked_for(
    start_front: StartFront, kind: str
) -> None:
    front = start_front(kind)
    make_trouble(front)
    front.proxy.stop()
    if kind == "caddy":
        assert "shutdown complete" in front.proxy.logs, "there is a log"
    for path in front.proxy.folder.rglob("*"):
        if path.is_file():
            left = path.read_bytes()
            assert not [word for word in HERS if word.encode() in left], path


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("nginx", "access_log off;"),
        ("nginx", "error_log /dev/null emerg;"),
        ("caddy", "exclude http tls.handshake"),
    ],
)
def test_without_its_line_the_log_would_hold_them(
    start_front: StartFront, kind: str, line: str
) -> None:
    front = start_front(kind, changes={line: ""})
    make_trouble(front)
    front.proxy.stop()
    assert SENDER in front.proxy.logs
    assert "CANARYPATH" in front.proxy.logs


# -- what the relay gets --------------------------------------------------------------------------


@kinds
def test_the_relay_gets_no_address_whatever_the_sender_claims(
    start_proxy: StartProxy, kind: str, tmp_path: Path
) -> None:
    """A socket in the relay's place, which sees what a relay sees; one connection for two."""
    (tmp_path / "proxy").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "proxy/web.sock"))
        listener.listen()
        listener.settimeout(20)
        sender = Sender(start_proxy(kind))
        claims = {
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Host": "203.0.113.9",
            "X-Real-IP": "203.0.113.9",
            "Forwarded": "for=203.0.113.9",
            "Via": "1.1 203.0.113.9",
            "User-Agent": "CANARYAGENT",
            "Referer": "https://CANARYPATH.example.org/",
            "Cookie": "CANARYPATH",
            "Accept-Encoding": "gzip",
        }
        ours = {"Content-Type": "text/kept", "Sec-Fetch-Site": "none"}
        sender.request("POST", "/en/", b"body", {**claims, **ours})
        connection, _ = listener.accept()
        connection.settimeout(20)
        with connection:
            for _ in range(2):
                seen = b""
                while b"body" not in seen:
                    seen += connection.recv(65536)
                head = seen.decode().lower()
                assert f"\r\nhost: {NAME}\r\n" in head
                assert "\r\ncontent-type: text/kept\r\n" in head
                assert "\r\nsec-fetch-site: none\r\n" in head
                assert "\r\ncontent-length: 4\r\n" in head
                for unwanted in (*HERS, "forwarded", "gzip", "via:", "referer", "go-http"):
                    assert unwanted.lower() not in head
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert sender.getresponse().read() == b"ok"
                sender.request("POST", "/en/", b"body", {**claims, **ours})
        sender.close()


# -- what stays in memory -------------------------------------------------------------------------


def settings_of(drop_in: Path) -> list[str]:
    """A wrapper that sets what systemd would, as far as it is the environment."""
    return ["env", *re.findall(r"^Environment=(.+)$", drop_in.read_text(), re.MULTILINE)]


def left_in(proxy: Proxy, hers: dict[str, list[bytes]]) -> set[str]:
    assert proxy.process is not None
    pids = family(proxy.process.pid)
    assert len(pids) == 2, "the master and its worker"
    return {
        name
        for pid in pids
        for content in memory_of(pid)
        for name, forms in hers.items()
        if any(form in content for form in forms)
    }


def send_secrets(front: Front) -> tuple[dict[str, list[bytes]], Sender]:
    """A photo that was taken, one that was refused, one that was cut; the first stays connected."""
    picture, words, browser = os.urandom(3 * MIB), secrets.token_hex(12), secrets.token_hex(12)
    parts = [("token", front.token().encode(), None), ("message", words.encode(), None)]
    taken, kind = multipart([*parts, ("photo", photos.dirty_jpeg() + picture, "x.jpg")])
    refused, _ = multipart([*parts, ("photo", picture, "x.jpg")])
    headers = {"Content-Type": kind, "User-Agent": browser}
    sender = Sender(front.proxy)
    sender.request("POST", "/en/", taken, headers)
    page = sender.getresponse().read().decode()
    receipt = re.findall(r'<output id="receipt">([\d ]+)</output>', page)[0]
    assert front.request("POST", "/en/", refused, headers).status == 415
    cut = Sender(front.proxy)
    cut.putrequest("POST", "/en/")
    for name, value in headers.items():
        cut.putheader(name, value)
    cut.putheader("Content-Length", str(len(taken)))
    cut.endheaders(taken[: 2 * MIB])
    cut.close()
    hers = {
        "photo": [picture[start:][:24] for start in range(0, len(picture), 4096)],
        "message": [words.encode()],
        "browser": [browser.encode()],
        "receipt": [receipt.encode(), receipt.replace(" ", "").encode()],
    }
    return hers, sender


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the proxy's memory")


@only_root
def test_nginx_with_its_drop_in_forgets_within_two_seconds(start_front: StartFront) -> None:
    front = start_front("nginx", wrapper=settings_of(ROOT / "deploy/proxy/nginx-forgets.conf"))
    hers, sender = send_secrets(front)
    wait_until(lambda: not left_in(front.proxy, hers), seconds=2)
    sender.close()
    gone = {**hers, "address": [SENDER.encode(), socket.inet_aton(SENDER) + bytes(8)]}
    wait_until(lambda: not left_in(front.proxy, gone), seconds=2)


@only_root
def test_nginx_without_its_drop_in_keeps_pieces(start_front: StartFront) -> None:
    front = start_front("nginx")
    hers, sender = send_secrets(front)
    sender.close()
    wait_until(lambda: {"photo", "receipt"} & left_in(front.proxy, hers))


def test_nginx_passes_every_header_that_the_form_reads() -> None:
    form = [path for path in (ROOT / "relay/web").glob("*.py") if path.name != "desk_api.py"]
    read = {
        name
        for path in form
        for name in re.findall(r'request\.headers(?:\.get\(|\[)"([\w-]+)"', path.read_text())
    }
    passed = set(re.findall(r"proxy_set_header ([\w-]+) ", SNIPPETS["nginx"].read_text()))
    assert read
    assert read <= passed


def test_caddy_finds_its_file_well_formed(tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(SNIPPETS["caddy"], tmp_path / "Caddyfile"))
    subprocess.run(["caddy", "fmt", "--overwrite", copy], check=True)
    assert copy.read_text() == SNIPPETS["caddy"].read_text()
