"""Through a real tor, both ends of it: the form's onion, the desk's, and who abuses them."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from relay.web.onion import STRIKES, UPLOADS_AT_ONCE
from tests import photos
from tests.conftest import ROOT, Result, wait_until
from tests.tor.conftest import Browser, Onions, OnionService
from tests.tor.network import TEMPLATE, authorization, made_up_onion

_PHOTO_BYTES = 5_000_000
StartRelay = Callable[..., OnionService]


@pytest.fixture
def relay_there(start_relay: StartRelay) -> OnionService:
    return start_relay()


@pytest.fixture
def her(onions: Onions) -> Browser:
    return Browser(onions.visitor, onions.host.form)


@pytest.fixture
def large_photo(tmp_path: Path) -> Path:
    """Five megabytes that no compression makes smaller."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(photos.encode(photos.noise(2500, 1900), quality=95))
    assert path.stat().st_size > _PHOTO_BYTES
    return path


def open_circuits(onions: Onions) -> set[str]:
    """The circuits by which visitors have reached the operator's tor."""
    with onions.host.control() as control:
        status = "\n".join(control.ask("GETINFO circuit-status"))
    return set(re.findall(r"^(\d+) BUILT .*HS_STATE=HSSR_JOINED", status, re.MULTILINE))


# -- a submission ---------------------------------------------------------------------------------


def test_a_photo_of_five_megabytes_goes_through_tor_and_is_taken_back(
    relay_there: OnionService,
    her: Browser,
    large_photo: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    options = her.photo_options(large_photo)
    begun = time.monotonic()
    sent = her.open("/en/", *options)
    took_s = time.monotonic() - begun
    record_testsuite_property("upload_s", round(took_s, 2))
    record_testsuite_property("upload_bytes_per_s", round(large_photo.stat().st_size / took_s))
    assert sent.status == 200, sent.text
    assert "What you sent is here" in her.post_receipt("receipt", sent.receipt).text
    assert her.post_receipt("withdraw", sent.receipt).status == 200
    assert "Nothing is kept" in her.post_receipt("receipt", sent.receipt).text
    assert relay_there.is_running()


def test_a_request_for_another_name_is_refused(relay_there: OnionService, her: Browser) -> None:
    for name in ("localhost", "127.0.0.1", f"www.{her.onion}", "relay.example.org"):
        answer = her.open("/en/", "--header", f"Host: {name}")
        assert answer.status == 421
        assert "<form" not in answer.text
    assert her.open().status == 200
    assert relay_there.is_running()


def test_isolated_visitors_come_by_circuits_of_their_own(onions: Onions, her: Browser) -> None:
    with numbering_listener(onions.host.form_socket):
        first = [her.open("/").text for _ in range(2)]
        other = Browser(onions.visitor, her.onion, name="another").open("/").text
    assert all(line.startswith("PROXY TCP6 fc00:dead:beef:4dad::") for line in (*first, other))
    numbers = [line.split()[2] for line in (*first, other)]
    assert numbers[0] == numbers[1] != numbers[2]


@contextmanager
def numbering_listener(path: Path) -> Iterator[None]:
    """In the relay's place: answers each connection with the line that tor wrote before it."""
    path.unlink(missing_ok=True)
    with socket.create_server(str(path), family=socket.AF_UNIX) as listener:

        def answer() -> None:
            while True:
                try:
                    visit, _ = listener.accept()
                except OSError:
                    return
                with visit:
                    line = visit.makefile("rb").readline().strip()
                    length = str(len(line)).encode()
                    visit.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ")
                    visit.sendall(length + b"\r\n\r\n" + line)

        answering = threading.Thread(target=answer)
        answering.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            answering.join()
            path.unlink()


def test_a_circuit_that_is_abused_is_cut_and_the_other_goes_on(
    relay_there: OnionService, onions: Onions, large_photo: Path, tmp_path: Path
) -> None:
    before = open_circuits(onions)
    her = Browser(onions.visitor, onions.host.form, name="honest")
    abuser = Browser(onions.visitor, onions.host.form, name="abuser")
    options = abuser.photo_options(large_photo)
    (abused,) = open_circuits(onions) - before
    hers = her.photo_options(large_photo)
    (honest,) = open_circuits(onions) - before - {abused}

    # Hers takes a quarter of a minute, each of theirs two minutes.
    page = tmp_path / "page.html"
    slowly = ["--limit-rate", "300k", "--output", str(page), "--write-out", "%{http_code}"]
    barely = abuser.command("/en/", "--limit-rate", "50k", *options)
    with ExitStack() as stack:
        sending = stack.enter_context(running(her.command("/en/", *slowly, *hers)))
        crowd = [stack.enter_context(running(barely)) for _ in range(UPLOADS_AT_ONCE + STRIKES)]
        wait_until(lambda: abused not in open_circuits(onions), seconds=60)
        # Those under way; who came too much was told so before, and which ones that are is chance.
        cut = sum(one.wait(timeout=30) != 0 for one in crowd)
        assert cut >= UPLOADS_AT_ONCE
        assert sending.poll() is None, "she was not sending any more: nothing was shown"
        assert honest in open_circuits(onions)
        assert sending.communicate(timeout=60)[0] == b"200"
        assert 'id="receipt"' in page.read_text()
        assert abuser.open().status == 200, "on a new circuit, as anybody"
    assert relay_there.is_running()


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is gone afterwards, whatever happens."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


# -- the desk -------------------------------------------------------------------------------------


def pull(service: OnionService, onions: Onions, by: str, *, relay: str | None = None) -> Result:
    """What the desk's pull says on somebody's laptop."""
    client = getattr(onions, by)
    return pull_by(service, client.proxy, f"http://{relay or onions.host.desk}")


def pull_by(service: OnionService, proxy: str, relay: str) -> Result:
    config = service.write_desk("by-onion", relay=relay, proxy=proxy)
    return service.desk("pull", "--to", "sealed", "--json", config=config)


def test_the_desk_pulls_through_the_second_onion(
    relay_there: OnionService, onions: Onions, her: Browser, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(photos.dirty_jpeg())
    assert her.open("/en/", *her.photo_options(photo)).status == 200
    pulled = pull(relay_there, onions, "laptop")
    assert pulled.code == 0, pulled.err
    assert len(pulled.json["fetched"]) == 1  # type: ignore[arg-type]
    assert pull(relay_there, onions, "laptop").code == 10


def test_without_the_key_the_desks_onion_stays_shut(
    relay_there: OnionService, onions: Onions
) -> None:
    refused = pull(relay_there, onions, "visitor")
    assert (refused.code, refused.out) == (1, "")
    assert "no key for that onion" in refused.err


def test_a_wrong_key_is_told_from_a_missing_one(relay_there: OnionService, onions: Onions) -> None:
    _, stranger = authorization()
    client = onions.network.client("stranger", onion_keys={onions.host.desk: stranger})
    try:
        refused = pull_by(relay_there, client.proxy, f"http://{onions.host.desk}")
    finally:
        client.stop()
    assert refused.code == 1
    assert "the relay's tor doesn't know it" in refused.err


def test_a_tor_that_gives_no_reasons_can_be_made_to(
    relay_there: OnionService, onions: Onions
) -> None:
    refused = pull(relay_there, onions, "stock")
    assert refused.code == 1
    assert "ExtendedErrors" in refused.err


def test_an_onion_that_is_nowhere_and_one_that_can_not_be_are_named(
    relay_there: OnionService, onions: Onions
) -> None:
    nowhere = pull(relay_there, onions, "visitor", relay=made_up_onion())
    assert "can't find that onion" in nowhere.err
    misspelt = "a" * 56 + ".onion"
    assert "not an onion address" in pull(relay_there, onions, "visitor", relay=misspelt).err


def test_a_relay_that_is_down_behind_its_tor_is_named(
    relay_there: OnionService, onions: Onions
) -> None:
    relay_there.kill()
    down = pull(relay_there, onions, "laptop")
    assert down.code == 1
    assert "no relay answers behind it" in down.err


# -- the operator's tor ---------------------------------------------------------------------------


def test_the_operators_tor_runs_as_the_template_says(onions: Onions) -> None:
    wanted = {
        "SocksPort": "0",
        "ORPort": "0",
        "ExitRelay": "0",
        "HiddenServiceSingleHopMode": "0",
        "HiddenServiceNonAnonymousMode": "0",
        "VanguardsLiteEnabled": "1",
        "SafeLogging": "1",
        "Sandbox": "1",
        "MaxMemInQueues": str(512 << 20),
        "CookieAuthentication": "1",
    }
    with onions.host.control() as control:
        for name, value in wanted.items():
            assert control.ask(f"GETCONF {name}") == [f"250 {name}={value}"]
    assert onions.host.process is not None
    status = Path(f"/proc/{onions.host.process.pid}/status").read_text()
    assert "Seccomp:\t2" in status


def test_the_operators_tor_logs_no_onion_and_no_circuit(
    relay_there: OnionService, onions: Onions, her: Browser
) -> None:
    before = onions.host.log
    assert her.open().status == 200
    assert relay_there.is_running()
    assert onions.host.log == before
    for onion in (onions.host.form, onions.host.desk):
        assert onion.removesuffix(".onion") not in before


def test_no_line_of_the_template_is_left_to_fill_in(onions: Onions) -> None:
    names = set(re.findall(r"@(\w+)@", TEMPLATE.read_text()))
    assert names == {"NAME", "DATA", "RUN", "FORM_SOCKET", "DESK_SOCKET"}
    settings = [line for line in onions.host.torrc.splitlines() if not line.startswith("#")]
    assert not re.search(r"@\w+@", "\n".join(settings))


def test_every_tor_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.tor.network import Tor\n"
        "folder = Path(sys.argv[1])\n"
        "tor = Tor(folder, f'DataDirectory {folder}/data\\nSocksPort 0\\nDisableNetwork 1\\n')\n"
        "tor.start()\n"
        "print(tor.process.pid, flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: "Bootstrapped 0%" in (tmp_path / "log").read_text())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
