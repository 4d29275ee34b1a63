"""What is left of a submission in memory, in files and in the log, two seconds after the answer.

Every secret is random, so that nothing else on this machine can hold it.
"""

import base64
import contextlib
import errno
import http.client
import io
import json
import os
import random
import re
import secrets
import signal
import socket
import sqlite3
import ssl
import string
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from relay import memory
from tests import doors, photos
from tests.conftest import Answer, Service, Starter, multipart, wait_until
from tests.seeking import Needles
from tests.web.test_questions import take_questions

FORGOTTEN_S = 2
MIB = 1 << 20
LATIN = string.ascii_letters
DARI = "ابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی"
# The relay without the settings that overwrite what is freed.
REMEMBERING = (
    "import sys; from relay import memory; memory.overwrite_freed = lambda: None; "
    "memory.is_freed_overwritten = lambda: True; "
    "from relay.cli import main; sys.exit(main(sys.argv[2:]))"
)
# The relay with a box whose decoder does what a photo begins with.
ODD_BOX = Path(__file__).parent.parent / "scrub/odd_box.py"
ODD = (
    f"import sys; from relay.scrub import supervisor; supervisor._PROGRAM = ({str(ODD_BOX)!r},); "
    "from relay.cli import main; sys.exit(main(sys.argv[2:]))"
)
TEMPORARY = {Path(name) for name in ("/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir())}  # noqa: S108 - looked into

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the relay's memory")

Secrets = dict[str, list[bytes]]  # for each name, every form of it


# -- what to look for -----------------------------------------------------------------------------


def forms(*texts: str) -> list[bytes]:
    """Texts as they may lie in memory: encoded, as CPython keeps them, escaped."""
    found = []
    for text in texts:
        found += [text.encode(kind) for kind in ("utf-8", "utf-16-le", "utf-32-le")]
        found.append(json.dumps(text)[1:-1].encode())
    return list(dict.fromkeys(found))


def pieces(content: bytes) -> list[bytes]:
    """A few bytes of a picture, here and there."""
    return [content[len(content) * i // 8 :][:24] for i in range(2, 8)]


# -- where to look --------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all that it started, as far as they still live."""
    below: list[str] = []
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            below += children.read_text().split()
    return [pid, *(one for child in below for one in family(int(child)))]


def memory_of(pid: int) -> Iterator[bytes]:
    """Whatever a process can have written to: heaps, stacks, data, what it shares."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as source:
            for line in maps:
                place, rights, *_ = line.split()
                start, end = (int(edge, 16) for edge in place.split("-"))
                while rights.startswith("rw") and start < end:
                    source.seek(start)
                    content = read_some(source, end - start)
                    if not content:
                        break
                    yield content
                    start += len(content)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):  # it has ended
            raise


def read_some(source: io.RawIOBase, most: int) -> bytes:
    """Some bytes of a memory; none where a mapping went between the look and the reading."""
    try:
        return source.read(most) or b""
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def files_since(began: float, *folders: Path) -> Iterator[bytes]:
    for folder in folders:
        for place, below, names in os.walk(folder):  # passes over what others remove meanwhile
            # Nor into what is mounted there: another's /proc has files whose reading never ends.
            below[:] = [name for name in below if not os.path.ismount(Path(place) / name)]
            for path in (Path(place) / name for name in names):
                with contextlib.suppress(OSError):
                    if path.is_file() and path.stat().st_mtime >= began:
                        yield path.read_bytes()


def post_head(kind: str, length: int) -> bytes:
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}"
    return head.encode() + b"\r\n\r\n"


def left_of(hers: Secrets, service: Service, began: float) -> set[str]:
    """Return the names of what can still be found, with the place."""
    assert service.process is not None
    found, needles = set(), Needles(hers)
    for pid in family(service.process.pid):
        for content in memory_of(pid):
            found |= {f"{name} in memory" for name in needles.within(content)}
    for content in files_since(began, service.folder, *TEMPORARY):
        found |= {f"{name} in a file" for name in needles.within(content)}
    return found | {f"{name} in the log" for name in needles.within(service.log_file.read_bytes())}


# -- one submitter --------------------------------------------------------------------------------


class Sender:
    """Somebody with secrets, and a connection that stays open until she closes it."""

    def __init__(self, service: Service, picture: bytes, alphabet: str = LATIN) -> None:
        self.began = time.time()
        self.service = service
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        message, name, comment = (
            "".join(secrets.choice(letters) for _ in range(24))
            for letters in (alphabet, LATIN, LATIN)
        )
        self.message = f"{message}, " * 9
        self.file_name = f"{name}.jpg"
        video = os.urandom(MIB)
        self.photo = picture[:2] + photos.segment(0xFE, comment.encode()) + picture[2:] + video
        self.hers: Secrets = {
            "message": forms(message),
            "file name": forms(name),
            "metadata": [comment.encode()],
            "photo": pieces(picture) + pieces(video),
            "token": [],
        }

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        self.connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = self.connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        for token in re.findall(r'name="token" value="([^"]+)"', answer.text):
            self.hers["token"] += [*forms(token), base64.urlsafe_b64decode(token)[4:]]
            self.last_token = token
        for receipt in re.findall(r'<output id="receipt">([\d ]+)</output>', answer.text):
            digits = receipt.replace(" ", "")
            self.hers["receipt"] = forms(receipt, digits, digits[:12], receipt.replace(" ", "+"))
        for preview in re.findall(r'"data:image/jpeg;base64,([^"]+)"', answer.text):
            shown = self.hers.setdefault("preview", [])
            shown += pieces(preview.encode()) + pieces(base64.b64decode(preview))
        for ticket in re.findall(r'name="ticket" value="([^"]+)"', answer.text):
            self.hers["ticket"] = [*forms(ticket), base64.urlsafe_b64decode(ticket)[16:]]
            self.last_ticket = ticket
        return answer

    def form(self, **fields: str) -> tuple[bytes, str]:
        self.request("GET", "/en/")
        return multipart(
            [
                ("token", self.last_token.encode(), None),
                ("message", self.message.encode(), None),
                *((name, value.encode(), None) for name, value in fields.items()),
                ("photo", self.photo, self.file_name),
            ]
        )

    def send(self, **fields: str) -> Answer:
        return self.request("POST", "/en/", *self.form(**fields))

    def press(self, do: str) -> Answer:
        body = f"ticket={self.last_ticket}&c0=on&looked=on&do={do}".encode()
        return self.request("POST", "/en/cover", body, "application/x-www-form-urlencoded")

    def post_receipt(self, page: str, receipt: str) -> Answer:
        body = f"receipt={receipt.replace(' ', '+')}".encode()
        return self.request("POST", f"/en/{page}", body, "application/x-www-form-urlencoded")

    def assert_forgotten(self) -> None:
        """Look until nothing is found; what is begun to be looked for after 2 s is not there."""
        answered = time.monotonic()
        while True:
            is_late = time.monotonic() > answered + FORGOTTEN_S
            found = left_of(self.hers, self.service, self.began)
            if not found:
                return
            assert not is_late, sorted(found)


NewSender = Callable[..., Sender]


@pytest.fixture
def new_sender(picture: bytes) -> Iterator[NewSender]:
    """Make a sender; her connection is closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def make(service: Service, alphabet: str = LATIN) -> Sender:
            sender = Sender(service, picture, alphabet)
            stack.callback(sender.connection.close)
            return sender

        yield make


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A photo that nobody else has."""
    return photos.dirty_jpeg(photos.picture(1400, 1000, seed=secrets.randbits(64)))


def sealed(service: Service, folder: Path) -> list[bytes]:
    """Pull and open what the service holds, and return the pictures."""
    assert service.desk("pull", "--to", folder / "sealed").code == 0
    assert service.desk("open", folder / "sealed", "--to", folder / "opened").code == 0
    return [path.read_bytes() for path in folder.glob("opened/*/photo.jpg")]


@pytest.fixture(scope="module")
def clean(
    shared_service: Service, picture: bytes, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The same photo as it is sealed."""
    assert shared_service.send(picture).status == 200
    return sealed(shared_service, tmp_path_factory.mktemp("clean"))[0]


# -- the looking itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 4096, 10_001, (1 << 18) + 77])  # one slice, and a bit
def test_a_needle_is_found_at_every_place_and_only_where_it_is_whole(size: int) -> None:
    chance = random.Random(size)
    texts = {f"text {number}": forms(secrets.token_hex(12), "".join(DARI)) for number in range(5)}
    needles = texts | {"bytes": [chance.randbytes(24)], "short": [b"\1\2\3"], "none": []}
    looking = Needles(needles)
    for name, wanted in needles.items():
        for needle in wanted:
            nothing = bytearray(size)
            for at in (0, 1, 2, 3, 50, size - 80, size - len(needle) - 1, size - len(needle)):
                hay = nothing.copy()
                hay[at : at + len(needle)] = needle
                assert name in looking.within(bytes(hay)), (name, at)
                hay[at + len(needle) - 1] ^= 255
                assert name not in looking.within(bytes(hay)), (name, at)
    assert looking.within(bytes(size)) == looking.within(b"\xa5" * size) == set()


def test_what_an_unfinished_upload_has_sent_is_found(
    service: Service, new_sender: NewSender
) -> None:
    """Looking works, in the service as it runs."""
    sender = new_sender(service)
    body, kind = sender.form()
    with socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall(post_head(kind, len(body)) + body[:-99])
        held = {"message in memory", "photo in memory", "metadata in memory", "token in memory"}
        wait_until(lambda: held <= left_of(sender.hers, service, sender.began))


def test_without_the_settings_much_is_found(start_service: Starter, new_sender: NewSender) -> None:
    service = start_service(wrapper=[sys.executable, "-c", REMEMBERING])
    senders = [new_sender(service) for _ in range(6)]
    for sender in senders:
        assert sender.send().status == 200
        sender.connection.close()
    hers = {
        name: [form for sender in senders for form in sender.hers[name]] for name in senders[0].hers
    }
    until = time.monotonic() + FORGOTTEN_S
    wait_until(lambda: time.monotonic() > until)
    assert "message in memory" in left_of(hers, service, inf)  # and more, which differs by version


def test_what_lies_in_a_file_is_found(lasting: Starter, new_sender: NewSender) -> None:
    service = lasting()
    sender = new_sender(service)
    (service.folder / "left").write_text(f"x{sender.message}")
    service.log_file.write_bytes(sender.photo)
    found = left_of(sender.hers, service, sender.began)
    assert {"message in a file", "photo in the log", "metadata in the log"} <= found


# -- what is left ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_kept_alive", [True, False])
@pytest.mark.parametrize("alphabet", [LATIN, DARI], ids=["latin", "dari"])
def test_an_accepted_photo_is_forgotten(  # noqa: PLR0913 - two choices
    service: Service,
    new_sender: NewSender,
    clean: bytes,
    tmp_path: Path,
    *,
    alphabet: str,
    is_kept_alive: bool,
) -> None:
    sender = new_sender(service, alphabet)
    sender.hers["clean photo"] = pieces(clean)
    assert sender.send().status == 200
    assert "receipt" in sender.hers
    if not is_kept_alive:
        sender.connection.close()
    sender.assert_forgotten()
    assert sealed(service, tmp_path) == [clean], "what was looked for is what was sealed"


@pytest.mark.parametrize("alphabet", [LATIN, DARI], ids=["latin", "dari"])
def test_a_question_is_forgotten(
    start_service: Starter, campaign: Path, new_sender: NewSender, alphabet: str
) -> None:
    sender = new_sender(start_service(**take_questions(campaign)), alphabet)
    refused = sender.send(kind="question")
    assert "chose a photo too" in refused.text
    sender.assert_forgotten()
    sender.photo = b""
    assert sender.send(kind="question").status == 200
    assert "receipt" in sender.hers
    sender.assert_forgotten()


def test_what_waits_to_be_sent_can_not_be_read(
    service: Service, new_sender: NewSender, clean: bytes
) -> None:
    """Whoever copies our memory while she looks at the picture has a ciphertext and half a key."""
    sender = new_sender(service)
    sender.hers["clean photo"] = pieces(clean)
    assert sender.send(look="yes").status == 200
    assert {"ticket", "preview"} <= set(sender.hers)
    sender.assert_forgotten()
    assert sender.press("again").status == 200
    sender.assert_forgotten()
    assert sender.press("send").status == 200
    assert "receipt" in sender.hers
    sender.assert_forgotten()
    assert sender.press("send").status == 200, "and what is left of it is not to be read either"
    sender.assert_forgotten()


def behind_doors(lasting: Starter) -> Service:
    """A relay with TLS and with tor's socket."""
    return lasting(prepare=doors.write_pair, **doors.TLS_SETTINGS, **doors.ONION_SETTINGS)


@pytest.mark.parametrize("is_kept_alive", [True, False])
@pytest.mark.parametrize("door", ["TLS", "onion"])
def test_so_it_is_at_every_door(
    lasting: Starter,
    new_sender: NewSender,
    door: str,
    *,
    is_kept_alive: bool,
) -> None:
    service = behind_doors(lasting)
    sender = new_sender(service)
    host = doors.HOST if door == "TLS" else doors.ONION
    sender.connection = doors.Visitor(
        service.folder / "onion.sock", first=doors.line(55), host=host
    )
    if door == "TLS":
        trusted = doors.trusting(service.folder / "certificate.pem")
        sender.connection.sock = doors.secure(service, trusted)
    assert sender.send().status == 200
    assert "receipt" in sender.hers
    if not is_kept_alive:
        sender.connection.close()
    sender.assert_forgotten()
    if is_kept_alive:
        receipt = sender.hers["receipt"][0].decode()
        assert sender.post_receipt("receipt", receipt).status == 200
        sender.assert_forgotten()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_secret_of_a_tls_session_is_forgotten(
    lasting: Starter,
    new_sender: NewSender,
    tmp_path: Path,
    version: ssl.TLSVersion,
) -> None:
    """With it, whoever has recorded the visit could read it."""
    service = behind_doors(lasting)
    trusted = doors.trusting(service.folder / "certificate.pem")
    trusted.minimum_version = trusted.maximum_version = version
    trusted.keylog_filename = str(tmp_path / "keys")
    sender = new_sender(service)
    sender.connection = doors.Visitor(service.folder / "onion.sock", host=doors.HOST)
    sender.connection.sock = client = doors.secure(service, trusted)
    sender.request("GET", "/en/")
    kept = {"CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0"}  # of 1.2, of 1.3
    lines = [line.split() for line in (tmp_path / "keys").read_text().splitlines()]
    sender.hers["session"] = [bytes.fromhex(line[2]) for line in lines if line[0] in kept]
    assert "session in memory" in left_of(sender.hers, service, inf), "looking works"
    client.unwrap().close()
    sender.assert_forgotten()


def test_a_receipt_is_forgotten(lasting: Starter, new_sender: NewSender) -> None:
    service = lasting()
    sender = new_sender(service)
    receipt = sender.send().receipt
    assert sender.post_receipt("receipt", receipt).status == 200
    sender.assert_forgotten()
    assert sender.post_receipt("receipt", receipt[:-1]).status == 400
    sender.assert_forgotten()
    assert "destroyed" in sender.post_receipt("withdraw", receipt).text
    sender.assert_forgotten()
    sender.connection.close()
    sender.assert_forgotten()


@pytest.mark.parametrize("target", ["/en/receipt?receipt={}", "/en/{}", "/{}?x={}"])
def test_a_receipt_typed_into_the_address_is_forgotten(
    lasting: Starter, new_sender: NewSender, target: str
) -> None:
    service = lasting()
    sender = new_sender(service)
    digits = "".join(secrets.choice("0123456789") for _ in range(20))
    sender.hers["receipt"] = forms(digits)
    sender.request("GET", target.format(digits, digits))
    sender.assert_forgotten()


def not_a_photo(sender: Sender) -> None:
    sender.photo = sender.photo[1:]


def damaged(sender: Sender) -> None:
    sender.photo = sender.photo[:40_000]


def too_large(sender: Sender) -> None:
    sender.photo += bytes(3 * MIB)


def far_too_large(sender: Sender) -> None:
    sender.photo += bytes(20 * MIB)


def too_long(sender: Sender) -> None:
    sender.message *= 5


def no_form(sender: Sender) -> None:
    sender.message *= 200


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (not_a_photo, 415),
        (damaged, 400),
        (too_large, 413),
        (far_too_large, 413),
        (too_long, 400),
        (no_form, 400),
    ],
)
def test_what_was_refused_is_forgotten(
    lasting: Starter, new_sender: NewSender, spoil: Callable[[Sender], None], status: int
) -> None:
    service = lasting(max_upload_bytes=3 * MIB)
    stays, leaves = new_sender(service, DARI), new_sender(service)
    for sender in (stays, leaves):
        spoil(sender)
        assert sender.send().status == status
    leaves.connection.close()
    stays.assert_forgotten()
    leaves.assert_forgotten()


@pytest.mark.parametrize("is_reset", [True, False])
def test_an_upload_that_was_cut_is_forgotten(
    lasting: Starter, new_sender: NewSender, *, is_reset: bool
) -> None:
    service = lasting()
    sender = new_sender(service)
    for part in (0.0001, 0.01, 0.5, 0.99):
        body, kind = sender.form()
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            if is_reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(post_head(kind, len(body)) + body[: int(len(body) * part)])
            if part > 0.1:
                wait_until(lambda: "metadata in memory" in left_of(sender.hers, service, inf))
    sender.assert_forgotten()


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    "rest",
    [
        "Sec-Fetch-Site: cross-site\r\nContent-Length: {length}\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfff\r\n",
        "{message}: {message}\r\n\r\n",
    ],
    ids=["cross-site", "chunks", "header"],
)
def test_what_was_not_understood_is_forgotten(
    lasting: Starter, new_sender: NewSender, *, rest: str, is_open: bool
) -> None:
    service = lasting()
    sender = new_sender(service)
    body, kind = sender.form()
    rest = rest.format(length=len(body), message=sender.message)
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{rest}"
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(head.encode() + body[:-50])
        assert client.recv(99).split()[1].startswith(b"40")
        if is_open:
            sender.assert_forgotten()
    sender.assert_forgotten()


def test_what_could_not_be_kept_is_forgotten(lasting: Starter, new_sender: NewSender) -> None:
    service = lasting()
    sender = new_sender(service)
    receipt = sender.send().receipt
    with contextlib.closing(
        sqlite3.connect(service.folder / "queue.sqlite", isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        assert sender.post_receipt("withdraw", receipt).status == 503
        assert sender.send().status == 503
        sender.assert_forgotten()


def test_what_the_box_died_of_is_forgotten(service: Service, new_sender: NewSender) -> None:
    """The service is told at once, or that its box was exchanged: all it does is answer."""
    sender = new_sender(service)
    assert service.process is not None
    service_pid, *box = family(service.process.pid)
    for pid in box:
        os.kill(pid, signal.SIGSTOP)
    sending = threading.Thread(target=sender.send)
    sending.start()
    wait_until(lambda: "metadata in memory" in left_of(sender.hers, service, inf))
    for pid in box:
        os.kill(pid, signal.SIGKILL)
    sending.join()
    assert family(service_pid)
    sender.assert_forgotten()


@pytest.mark.parametrize("oddity", ["hang", "crash", "eat", "leave", "escape", "babble"])
def test_what_a_decoder_did_not_survive_is_forgotten_and_she_reads_what_to_do(
    lasting: Starter, new_sender: NewSender, oddity: str
) -> None:
    service = lasting(wrapper=[sys.executable, "-c", ODD])
    sender = new_sender(service)
    sender.photo = oddity.encode().ljust(32, b"\0") + sender.photo
    answer = sender.send()
    assert answer.status == 500
    assert "We could not clean this photo, so we kept nothing of it." in answer.text
    assert sender.message.strip() in answer.text, "the page keeps her words"
    sender.assert_forgotten()
    assert service.send(photos.dirty_jpeg()).status == 200


def test_many_are_forgotten_one_after_the_other_and_at_once(
    lasting: Starter, new_sender: NewSender
) -> None:
    service = lasting()
    senders = [new_sender(service, alphabet) for alphabet in (LATIN, DARI) * 3]
    for sender in senders[:3] * 2:
        assert sender.send().status == 200
    sending = [threading.Thread(target=sender.send) for sender in senders]
    for turn in sending:
        turn.start()
    for turn in sending:
        turn.join()
    for sender in senders:
        assert "receipt" in sender.hers
        sender.assert_forgotten()


# -- the settings ---------------------------------------------------------------------------------

OVERWRITES = "glibc.malloc.perturb=165"
NO_CACHE = "glibc.malloc.tcache_count=0"


@pytest.mark.parametrize(
    ("tunables", "allocator", "options", "is_overwritten"),
    [
        ((), "", [], False),
        ((OVERWRITES, NO_CACHE), "malloc", [], True),
        ((OVERWRITES,), "malloc", [], False),
        ((NO_CACHE,), "malloc", [], False),
        ((OVERWRITES, NO_CACHE), "pymalloc", [], False),
        ((OVERWRITES, NO_CACHE), "malloc", ["-I"], False),
    ],
)
def test_whether_freed_memory_is_overwritten_is_seen(
    tunables: tuple[str, ...], allocator: str, options: list[str], *, is_overwritten: bool
) -> None:
    code = "from relay.memory import is_freed_overwritten; print(is_freed_overwritten())"
    environment = {"GLIBC_TUNABLES": ":".join(tunables), "PYTHONMALLOC": allocator}
    command = [sys.executable, *options, "-c", code]
    seen = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert seen.stdout == f"{is_overwritten}\n"


def test_the_service_starts_itself_again_once_and_its_box_knows_nothing_of_it(
    start_service: Starter, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    other = "glibc.malloc.arena_max=2"
    service = start_service(
        wrapper=[
            *("strace", "-D", "-f", "-e", "trace=execve", "-o", str(trace)),
            *("env", f"GLIBC_TUNABLES={other}:glibc.malloc.perturb=0"),
        ]
    )
    assert service.process is not None
    pid, *box = family(service.process.pid)
    told = Path(f"/proc/{pid}/environ").read_bytes().replace(b"\0glibc", b":glibc")  # libc cuts it
    assert f"\0GLIBC_TUNABLES={other}:{OVERWRITES}:{NO_CACHE}\0PYTHON".encode() in told
    assert box
    for child in box:
        assert b"perturb" not in Path(f"/proc/{child}/environ").read_bytes()
    starts = re.findall(rf"^{pid} +execve\(.* = 0$", trace.read_text(), re.MULTILINE)
    assert len(starts) == 3, "env, the relay, the relay again"


NO_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def can_look_into(pid: int) -> bool:
    """Whether another process of the same user, without rights, may."""
    command = ["head", "-c1", f"/proc/{pid}/environ"]
    rights = NO_RIGHTS if os.getuid() == 0 else []
    return not subprocess.run([*rights, *command], capture_output=True, check=False).returncode


def test_memory_can_not_be_dumped_or_looked_into(start_service: Starter) -> None:
    rights = NO_RIGHTS if os.getuid() == 0 else []
    service = start_service(wrapper=[*rights, "prlimit", "--core=1000000:1000000"])
    assert service.process is not None
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    for pid in family(service.process.pid):
        assert not can_look_into(pid)
    with subprocess.Popen([*rights, "sleep", "60"]) as other:
        wait_until(lambda: b"sleep" in Path(f"/proc/{other.pid}/cmdline").read_bytes())
        assert can_look_into(other.pid), "else the test would prove nothing"
        other.kill()


@pytest.mark.parametrize(
    ("table", "is_on"),
    [
        (None, False),
        ("Filename Type Size Used Priority\n", False),
        ("Filename Type Size Used Priority\n/dev/dm-1 partition 999 0 -2\n", True),
    ],
)
def test_swap_is_seen(tmp_path: Path, table: str | None, *, is_on: bool) -> None:
    if table is not None:
        (tmp_path / "swaps").write_text(table)
    assert bool(memory.find_swaps(proc=tmp_path)) is is_on


@pytest.mark.parametrize(
    ("below", "is_unreadable_later"),
    [
        ({"zram0/backing_dev": "none\n"}, True),
        ({"zram0/backing_dev": "/dev/sda3\n"}, False),
        ({"dm-0/dm/uuid": "CRYPT-PLAIN-swap"}, True),
        ({"dm-0/dm/uuid": "LVM-x", "dm-0/slaves/dm-1/dm/uuid": "CRYPT-LUKS2-x"}, True),
        ({"dm-0/dm/uuid": "LVM-x", "dm-0/slaves/sda3/size": "1"}, False),
        (
            {"dm-0/slaves/dm-1/dm/uuid": "CRYPT-LUKS2-x", "dm-0/slaves/sda3/size": "1"},
            False,
        ),
        ({"sda3/size": "1"}, False),
    ],
)
def test_swap_that_is_encrypted_is_told_from_swap_that_is_not(
    tmp_path: Path, below: dict[str, str], *, is_unreadable_later: bool
) -> None:
    """A swap file, on a device laid out as the kernel lays it out below /sys."""
    swap = tmp_path / "a swap file"
    swap.touch()
    (tmp_path / "swaps").write_text(f"Filename Type\n{tmp_path}/a\\040swap\\040file file 9 0 -2\n")
    for name, content in below.items():
        (tmp_path / "sys/devices" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/devices" / name).write_text(content)
    device = next(iter(below)).partition("/")[0]
    number = swap.stat().st_dev
    link = tmp_path / "sys/dev/block" / f"{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "sys/devices" / device)
    found = memory.find_swaps(proc=tmp_path, sys=tmp_path / "sys")
    assert found == {str(swap): is_unreadable_later}
    link.unlink()
    assert memory.find_swaps(proc=tmp_path, sys=tmp_path / "sys") == {str(swap): False}
