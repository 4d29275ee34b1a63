"""TLS that ends in the relay, so that no other program holds plaintext or addresses."""

import asyncio
import errno
import os
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path

from relay.errors import ConfigInvalid
from relay.intake.events import events

_LOOK_S = 30.0
_HANDSHAKE_S = 15.0
_MOST_GREETINGS = 200  # at about 300 kB each


class Certificate:
    """A certificate and its key: in use, and read again when either file changes.

    Each connection gets a context of its own. With TLS 1.2, OpenSSL keeps the secret of every
    session in its context, so that the next visit may go on with it; Python has no switch for
    that. With the connection the context goes, and OpenSSL overwrites the secret.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both.

        Raises:
            ConfigInvalid: they can't be read, or don't belong together.
        """
        self._paths = (certificate, key)
        self._seen = self._look()
        try:
            self._pair = _Pair(*self._paths)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigInvalid(f"{certificate}, {key}: {_words(error)}") from error

    def new_context(self) -> ssl.SSLContext:
        """Return a context for one connection. Takes some milliseconds."""
        return self._pair.new_context()

    async def watch(self) -> None:
        """Look at the files now and then. New connections get the new certificate."""
        while True:
            await asyncio.sleep(_LOOK_S)
            seen = self._look()
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                self._pair = await asyncio.to_thread(_Pair, *self._paths)
            except OSError as error:
                events.error("certificate: %s; the one before goes on", _words(error))
            else:
                events.info("certificate: a new one is in use")

    def _look(self) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []
        for path in self._paths:
            try:
                found = path.stat()
            except OSError:
                continue
            # The last, since a file that could not be read may be allowed to be.
            seen.append((found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns))
        return seen


class _Pair:
    """The bytes of a certificate and its key as they once were good, whatever becomes of the files.

    OpenSSL reads both by a path only: they lie in files that are in memory alone, and go with us.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both.

        Raises:
            OSError: they can't be read; ssl.SSLError: they don't belong together.
        """
        self._certificate = self._hold(certificate)
        self._key = self._hold(key)
        self.new_context()

    def new_context(self) -> ssl.SSLContext:
        context = _new_context()
        # Our own descriptors, which we may open however closed to others our memory is.
        context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
        return context

    def _hold(self, path: Path) -> str:
        content = path.read_bytes()
        held = os.memfd_create("pem", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, held)
        os.write(held, content)
        return f"/proc/self/fd/{held}"


class BeforeTls(asyncio.Protocol):
    """Greets in TLS, then hands the connection over to the web protocol.

    What greets costs memory before anybody has said a word: the oldest makes room for the newest.
    """

    def __init__(
        self,
        certificate: Certificate,
        greeting: "dict[BeforeTls, None]",
        make_connection: Callable[[], asyncio.Protocol],
        sweep_soon: Callable[[], None],
    ) -> None:
        """Greet with `certificate`; greeting: all that do, the oldest first."""
        self._sweep_soon = sweep_soon
        self._certificate = certificate
        self._greeting = greeting
        self._make_connection = make_connection
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._early = b""  # what she says with her last words of greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, for a few seconds."""
        if not isinstance(transport, asyncio.Transport):
            return
        if len(self._greeting) >= _MOST_GREETINGS:
            next(iter(self._greeting)).give_up()
        self._greeting[self] = None
        self._transport = transport
        transport.pause_reading()  # asyncio's own; nothing is to be taken for plain text
        self._task = asyncio.get_running_loop().create_task(self._greet(transport))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the web protocol is there."""
        self._early += data

    def give_up(self) -> None:
        """Close the connection."""
        self._greeting.pop(self, None)
        if self._task is not None and self._transport is not None:
            self._task.cancel()
            self._transport.abort()  # where it had not begun

    async def _greet(self, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._certificate.new_context(),
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_S,
            )
        except (OSError, asyncio.CancelledError):  # of ssl too, and of time
            transport.abort()
            self._sweep_soon()  # asyncio leaves what refers to itself, with large buffers
        else:
            if secured is not None:
                connection = self._make_connection()
                secured.set_protocol(connection)
                connection.connection_made(secured)
                if self._early:
                    connection.data_received(self._early)
        finally:
            self._greeting.pop(self, None)


def _refuse_password() -> str:
    raise PermissionError(errno.EACCES, "the key is locked with a password, take that off")


def _new_context() -> ssl.SSLContext:
    """Return what a browser of the last ten years can talk to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # a ticket's key would open recorded sessions, and tells visits apart
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    return context


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not a certificate and its key, in PEM"
    return error.strerror or "can't be read"
