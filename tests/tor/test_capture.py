"""What can be seen on the wire while somebody sends a photo: looked at with tshark, on loopback."""

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import photos
from tests.conftest import wait_until
from tests.tor.conftest import Browser, Onions, OnionService
from tests.web.test_forensics import family, pieces

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="shared wires: only root may listen")


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
    held, local = set(), set()
    for one in family(pid):
        held |= {str(link.readlink()) for link in Path(f"/proc/{one}/fd").iterdir()}
        lines = Path(f"/proc/{one}/net/unix").read_text().splitlines()[1:]
        local |= {f"socket:[{line.split()[6]}]" for line in lines}
    return {name for name in held if name.startswith("socket:")} - local


def test_nothing_goes_over_the_wire_but_tors_own_cells(
    start_relay: Callable[..., OnionService], onions: Onions, tmp_path: Path
) -> None:
    running = start_relay()
    assert running.process is not None
    her = Browser(onions.visitor, onions.host.form, name=secrets.token_hex(8))
    photo, message = tmp_path / "x7-her-own-name.jpg", secrets.token_hex(12)
    photo.write_bytes(photos.dirty_jpeg(photos.picture(1600, 1200, seed=secrets.randbits(32))))
    capture = tmp_path / "capture.pcapng"
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
    asked = seen(capture, "tcp.flags.syn==1 && tcp.flags.ack==0", "ip.dst", "tcp.dstport")
    assert to_tor <= asked <= to_tor | of_tor, "a connection that nobody asked for"
    assert seen(capture, "dns || mdns || llmnr || nbns", "frame.number") == set(), "a name"
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
