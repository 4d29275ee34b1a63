"""What can be seen on the wire while somebody sends a photo: looked at with tshark.

In a network namespace of its own, with a loopback where nobody else talks.
"""

import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import photos
from tests.conftest import ROOT, wait_until
from tests.tor.conftest import Browser, Onions, OnionService
from tests.web.test_forensics import family, pieces

ALONE = "RELAY_TEST_ALONE"
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
NAMES = "dns || mdns || llmnr || nbns"
BEGINNINGS = "tcp.flags.syn==1 && tcp.flags.ack==0"
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may listen")


@contextmanager
def capturing(to: Path) -> Iterator[None]:
    """Write what goes over loopback to a file, from the first packet inside to the last."""
    command = ["tshark", "-i", "lo", "-w", str(to), "-q", "-f", "tcp or udp or sctp"]
    with to.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        mark = secrets.token_hex(8).encode()
        wait_until(lambda: say_in_clear(mark) and mark in read(to))
        yield
        mark = secrets.token_hex(8).encode()
        say_in_clear(mark)
        wait_until(lambda: mark in read(to))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def say_in_clear(words: bytes) -> bool:
    """Send a packet over loopback to where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(words, ("127.0.0.1", 9))
    return True


def seen(capture: Path, matching: str, *fields: str) -> set[tuple[str, ...]]:
    """The fields of the packets that match, as tshark reads them."""
    shown = [part for name in fields for part in ("-e", name)]
    command = ["tshark", "-n", "-r", str(capture), "-Y", matching, "-T", "fields", *shown]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {tuple(line.split("\t")) for line in done.stdout.splitlines()}


def network_sockets(pid: int) -> set[str]:
    """The sockets of a process and its children that are no Unix sockets."""
    held: set[str] = set()
    local: set[str] = set()
    for one in family(pid):
        for link in Path(f"/proc/{one}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                held.add(str(link.readlink()))
        lines = Path(f"/proc/{one}/net/unix").read_text().splitlines()[1:]
        local |= {f"socket:[{line.split()[6]}]" for line in lines}
    return {name for name in held if name.startswith("socket:")} - local


def test_nothing_goes_over_the_wire_but_tors_own_cells(request: pytest.FixtureRequest) -> None:
    if ALONE not in os.environ:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        inner = subprocess.run(
            ["unshare", "--net", *command, request.node.nodeid],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, ALONE: "1"},
            check=False,
        )
        assert inner.returncode == 0, inner.stdout
        return
    raise_loopback()
    look(
        request.getfixturevalue("start_relay"),
        request.getfixturevalue("onions"),
        request.getfixturevalue("tmp_path"),
    )


def raise_loopback() -> None:
    """Switch on the loopback of a new network namespace. Source: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    # So that a look-up, or a connection to anywhere else, would be sent and seen.
    subprocess.run(["ip", "route", "add", "default", "dev", "lo"], check=True)


def ask_outside() -> None:
    """What the relay must never do: send a question for a name, and begin a connection."""
    question = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\7invalid\0\0\1\0\1"  # RFC 1035, section 4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(question, ("192.0.2.53", 53))
    with socket.socket() as caller:
        caller.setblocking(False)  # noqa: FBT003 - the standard library's own
        caller.connect_ex(("192.0.2.1", 443))


def look(start_relay: Callable[..., OnionService], onions: Onions, tmp_path: Path) -> None:
    running = start_relay()
    assert running.process is not None
    her = Browser(onions.visitor, onions.host.form, name=secrets.token_hex(8))
    photo, message = tmp_path / "x7-her-own-name.jpg", secrets.token_hex(12)
    photo.write_bytes(photos.dirty_jpeg(photos.picture(1600, 1200, seed=secrets.randbits(32))))
    capture = tmp_path / "capture.pcapng"
    with capturing(tmp_path / "canary.pcapng"):
        ask_outside()
    assert seen(tmp_path / "canary.pcapng", NAMES, "frame.number"), "looking works"
    asked = seen(tmp_path / "canary.pcapng", BEGINNINGS, "ip.dst", "tcp.dstport")
    assert ("192.0.2.1", "443") in asked, "looking works"
    assert onions.visitor.process is not None
    assert network_sockets(onions.visitor.process.pid), "looking works"
    with capturing(capture):
        options = her.photo_options(photo)
        assert not network_sockets(running.process.pid)
        sent = her.open("/en/", *options, "--form", f"message={message}")
        assert not network_sockets(running.process.pid)
        assert her.post_receipt("receipt", sent.receipt).status == 200
        assert "destroyed" in her.post_receipt("withdraw", sent.receipt).text
        assert not network_sockets(running.process.pid)

    token = options[1].removeprefix("token=")
    to_tor = {("127.0.0.1", str(onions.visitor.socks_port))}
    of_tor = {("127.0.0.1", str(port)) for ports in onions.network.ports for port in ports}
    asked = seen(capture, BEGINNINGS, "ip.dst", "tcp.dstport")
    assert to_tor <= asked <= to_tor | of_tor, "a connection that nobody asked for"
    assert seen(capture, NAMES, "frame.number") == set(), "a name"
    assert seen(capture, "udp && udp.dstport != 9", "udp.dstport") == set()

    # From her browser to the tor on her own machine it goes in clear, and only there.
    hers = f"tcp.port == {onions.visitor.socks_port}"
    theirs = tmp_path / "wire.pcapng"
    subprocess.run(
        ["tshark", "-r", str(capture), "-Y", f"!({hers})", "-w", str(theirs)],
        check=True,
        capture_output=True,
    )
    whole, wire = capture.read_bytes(), theirs.read_bytes()
    secret = [message.encode(), token.encode(), photo.name.encode(), b"multipart/form-data"]
    secret += [her.onion.encode(), sent.receipt.encode(), *pieces(photo.read_bytes())]
    assert all(one in whole for one in secret), "looking works"
    assert not [one for one in secret if one in wire]
    assert len(wire) > len(photo.read_bytes()), "tor's cells are in it"
