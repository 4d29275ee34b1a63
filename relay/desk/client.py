"""Signed requests to the relay's desk API."""

import json
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from relay.desk.tor import OnionConnector, check_way
from relay.errors import (
    Corrupt,
    DeskRefused,
    HeldAfterRestore,
    LockedByColleague,
    NothingThere,
    RelayError,
    RelayUnreachable,
)
from relay.seal import signing
from relay.seal.signing import SigningIdentity

_NEXT_NONCE = "Relay-Nonce"
_SCHEME = "Relay-Ed25519"
_OK, _FORBIDDEN, _ITS_FAULT = 200, 403, 500
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=120)
_MAX_ANSWER_BYTES = 80 << 20
_NO_ANSWER = (
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    ValueError,
    LookupError,
    TypeError,
    RecursionError,
)
_REFUSALS: dict[str, type[RelayError]] = {
    "NothingThere": NothingThere,
    "LockedByColleague": LockedByColleague,
    "HeldAfterRestore": HeldAfterRestore,
    "Corrupt": Corrupt,
}


class DeskClient:
    """One conversation with the relay. `async with DeskClient(…) as client`."""

    def __init__(self, relay: str, identity: SigningIdentity, proxy: str = "") -> None:
        """Speak to the relay at `relay` (http://host:port) as `identity`.

        An onion is reached through tor at `proxy` (socks5h://host:port), all else directly.

        Raises:
            ConfigInvalid: `relay` and `proxy` don't belong together.
        """
        check_way(relay, proxy)
        self._relay = relay
        self._proxy = proxy
        self._host = urlsplit(relay).netloc
        self._identity = identity
        self._signer = identity.signer().encoded
        self._nonce: str | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=OnionConnector(self._proxy) if self._proxy else None,
            timeout=_TIMEOUT,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()

    async def ask(self, method: str, path: str, question: Any = None) -> Any:
        """Return the relay's JSON answer.

        Raises:
            RelayUnreachable, DeskRefused, NothingThere, LockedByColleague, Corrupt,
                HeldAfterRestore.
        """
        answer = await self.fetch(method, path, question)
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise Corrupt("The relay's answer can't be read.") from None

    async def fetch(self, method: str, path: str, question: Any = None) -> bytes:
        """Return the bytes that the relay answers.

        Raises:
            RelayUnreachable, DeskRefused, NothingThere, LockedByColleague, Corrupt,
                HeldAfterRestore.
        """
        return await self.send(method, path, b"" if question is None else _encode(question))

    async def send(self, method: str, path: str, body: bytes) -> bytes:
        """Send a body as it is; else as `fetch`."""
        is_carried = self._nonce is not None
        try:
            if not is_carried:
                _, first = await self._send("POST", "/desk/v1/nonce", b"", {})
                self._nonce = str(json.loads(first)["nonce"])
            status, answer = await self._send(method, path, body, self._sign(method, path, body))
        except _NO_ANSWER as error:
            raise RelayUnreachable(
                f"The relay at {self._relay} did not answer as a relay does "
                f"({type(error).__name__})."
            ) from None
        if status == _FORBIDDEN and is_carried:  # the nonce had grown old, or the relay restarted
            self._nonce = None
            return await self.send(method, path, body)
        if status != _OK:
            raise _refusal(status, answer)
        return answer

    def _sign(self, method: str, path: str, body: bytes) -> dict[str, str]:
        nonce, self._nonce = self._nonce or "", None
        statement = signing.request_statement(
            method=method, host=self._host, path=path, body=body, nonce=nonce
        )
        signature = self._identity.sign(signing.REQUEST, statement)
        return {"Authorization": f"{_SCHEME} {self._signer} {nonce} {signature}"}

    async def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        async with self._session.request(
            method,
            self._relay + path,
            data=body,
            headers={"Host": self._host, **headers},  # the very one that was signed
            allow_redirects=False,
        ) as response:
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise Corrupt("The relay's answer does not end.")
            self._nonce = response.headers.get(_NEXT_NONCE)
            return response.status, bytes(answer)


def _encode(question: Any) -> bytes:
    return json.dumps(question).encode()


def _refusal(status: int, answer: bytes) -> RelayError:
    if status >= _ITS_FAULT:
        return RelayUnreachable("The relay can't at the moment. Try again in a few minutes.")
    try:
        fields = json.loads(answer)
        kind = _REFUSALS.get(fields["error"], DeskRefused)
        if kind is DeskRefused:
            return DeskRefused(
                "The relay refused. Is your signer in its staff file, and the address right?"
            )
        return kind(str(fields["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return RelayUnreachable("What answered is not a relay's desk API.")
