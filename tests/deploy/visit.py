"""Runs inside the roots of deploy/test-install and test-desk, on what is installed there.

visit.py typed WORDS COMMAND  runs it at a terminal, types the passphrase where it is asked for
visit.py send SOCKET          sends a photo as tor would bring it, prints the receipt
visit.py ask SOCKET RECEIPT   prints what the relay says of that receipt
visit.py seal RECIPIENTS FILE  writes an envelope with a photo, as a relay would
visit.py cut CONTROL          asks tor, over its control socket, which version it is
"""

import datetime as dt
import io
import os
import pty
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path

from PIL import Image

from relay.seal.envelope import Submission, seal_envelope
from relay.seal.lists import load_recipients

BOUNDARY = "x7boundary7x"
# What tor puts before each connection: the number of a circuit, dressed as an address.
PROXY_LINE = b"PROXY TCP6 fc00:dead:beef:4dad::0:55 ::1 65535 80\r\n"


def visit(path: str, request: bytes) -> str:
    """One connection of one circuit: what tor says of it, a request, the whole answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(PROXY_LINE + request)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return answer.decode("utf-8", "replace")


def head(method: str, path: str, **more: str) -> bytes:
    host = Path("/var/lib/poster-relay-tor/form/hostname").read_text("ascii").strip()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in more.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def photo() -> bytes:
    picture = Image.frombytes("RGB", (640, 480), os.urandom(640 * 480 * 3))
    written = io.BytesIO()
    picture.save(written, "JPEG")
    return written.getvalue()


def send(path: str) -> str:
    form = visit(path, head("GET", "/en/"))
    token = re.search(r'name="token" value="([^"]+)"', form)
    if token is None:
        sys.exit(f"no form: {form[:2000]}")
    body = b""
    for name, extra, content in (
        ("token", "", token[1].encode()),
        ("photo", '; filename="IMG_1.jpg"\r\nContent-Type: image/jpeg', photo()),
        ("poster", "", b"general"),
        ("may_post", "", b"yes"),
    ):
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += part.encode() + content + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    answer = visit(
        path, head("POST", "/en/", Content_Type=kind, Content_Length=str(len(body))) + body
    )
    receipt = re.search(r'<output id="receipt">([\d ]+)</output>', answer)
    return receipt[1] if receipt else sys.exit(f"no receipt: {answer[:2000]}")


def ask(path: str, receipt: str) -> str:
    body = f"receipt={receipt.replace(' ', '+')}".encode()
    kind = "application/x-www-form-urlencoded"
    request = head("POST", "/en/receipt", Content_Type=kind, Content_Length=str(len(body)))
    answer = visit(path, request + body)
    words = re.sub(r"<[^>]+>", " ", answer.partition("<main")[2].partition("</main>")[0])
    return " ".join(words.partition(">")[2].split()) or answer


def seal(recipients: str, path: str) -> str:
    """Seal a photo that no relay has cleaned: the desk redraws it."""
    sealed = seal_envelope(
        Submission(
            campaign="spring-2026",
            language="en",
            message="hello",
            may_quote=True,
            poster="general",
            may_post=True,
            not_before=None,
            scrub={"removed": [], "quality": 85},
        ),
        photo(),
        load_recipients(Path(recipients)).current(dt.datetime.now(dt.UTC).date(), slots=4),
        envelope_bytes=512 * 1024,
        recipient_slots=4,
    )
    return f"{Path(path).write_bytes(sealed)} bytes"


def cut(path: str) -> str:
    """Speak to tor as the relay does; the cookie is where tor says."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(path)
        control.sendall(b"PROTOCOLINFO 1\r\n")
        offer = control.recv(4096).decode()
        cookie = re.search(r'COOKIEFILE="([^"]+)"', offer)
        if cookie is None:
            sys.exit(offer)
        control.sendall(f"AUTHENTICATE {Path(cookie[1]).read_bytes().hex()}\r\n".encode())
        if not control.recv(4096).startswith(b"250"):
            sys.exit("tor does not take its cookie")
        control.sendall(b"GETINFO version\r\nQUIT\r\n")
        return control.recv(4096).decode().splitlines()[0]


def typed(passphrase: str, command: list[str]) -> str:
    """What a command shows at a terminal of its own; it has turned the echo off when it asks."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)  # noqa: S606 - what is typed is the test's own
    shown = b""
    with suppress(OSError):  # how Linux says that the terminal's last user has gone
        while chunk := os.read(terminal, 4096):
            shown += chunk
            if shown.endswith((b"passphrase: ", b"again: ")):
                os.write(terminal, passphrase.encode() + b"\n")
    said = shown.decode().replace("\r\n", "\n").strip()
    return said if os.waitpid(child, 0)[1] == 0 else sys.exit(said)


def main() -> None:
    match sys.argv[1:]:
        case ["typed", passphrase, *command]:
            result = typed(passphrase, command)
        case ["send", path]:
            result = send(path)
        case ["ask", path, receipt]:
            result = ask(path, receipt)
        case ["seal", recipients, path]:
            result = seal(recipients, path)
        case ["cut", path]:
            result = cut(path)
        case _:
            sys.exit(__doc__)
    sys.stdout.write(result + "\n")


if __name__ == "__main__":
    main()
