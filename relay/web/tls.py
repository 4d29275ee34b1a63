"""TLS that ends in the relay, so that no other program holds plaintext or addresses."""

import asyncio
import ssl
from pathlib import Path

from relay.errors import ConfigInvalid
from relay.intake.events import events

_LOOK_S = 30.0


class Certificate:
    """A certificate and its key: in use, and read again when either file changes."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both.

        Raises:
            ConfigInvalid: they can't be read, or don't belong together.
        """
        self._paths = (certificate, key)
        self.context = _new_context()
        self._seen = self._look()
        try:
            self._load()
        except OSError as error:  # ssl.SSLError is one
            raise ConfigInvalid(f"{certificate}, {key}: {_words(error)}") from error

    async def watch(self) -> None:
        """Look at the files now and then. New connections get the new certificate."""
        while True:
            await asyncio.sleep(_LOOK_S)
            seen = self._look()
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                await asyncio.to_thread(self._load)
            except OSError as error:
                events.error("certificate: %s; the one before goes on", _words(error))
            else:
                events.info("certificate: a new one is in use")

    def _look(self) -> list[tuple[int, int, int]]:
        seen = []
        for path in self._paths:
            try:
                found = path.stat()
            except OSError:
                continue
            seen.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return seen

    def _load(self) -> None:
        _new_context().load_cert_chain(*self._paths)  # a pair that is none would spoil the other
        self.context.load_cert_chain(*self._paths)


def _new_context() -> ssl.SSLContext:
    """Return what a browser of the last ten years can talk to, and no session outlives."""
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
