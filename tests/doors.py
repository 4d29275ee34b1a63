"""Visitors of each listener: by tor's socket, and over TLS."""

import datetime as dt
import http.client
import socket
import ssl
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import Service

ONION = "a" * 55 + "d.onion"
HOST = "relay.example.org"
ONION_SETTINGS = {
    "onion_listen": '"unix:onion.sock"',
    "health_listen": '"unix:health.sock"',
    "onion_address": f'"{ONION}"',
}


TLS_SETTINGS = {
    "tls_certificate": '"certificate.pem"',
    "tls_key": '"key.pem"',
    "host": f'"{HOST}"',
}


def line(circuit: int) -> bytes:
    high, low = circuit >> 16, circuit & 0xFFFF
    return b"PROXY TCP6 fc00:dead:beef:4dad::%x:%x ::1 65535 80\r\n" % (high, low)


class Visitor(http.client.HTTPConnection):
    """A visitor whom tor brings to a socket."""

    here: ClassVar[list["Visitor"]] = []

    def __init__(self, path: Path, *, first: bytes = b"", host: str = ONION) -> None:
        super().__init__(host, timeout=20)
        self.here.append(self)
        self.path, self.first = path, first

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self.path))
        self.sock.sendall(self.first)

    def ask(self, path: str = "/en/", method: str = "GET") -> http.client.HTTPResponse:
        self.request(method, path)
        return self.getresponse()


def write_pair(folder: Path, name: str = HOST) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def secure(service: Service, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    return context.wrap_socket(plain, server_hostname=HOST)
