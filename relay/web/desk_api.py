"""The desk's API, JSON under /desk/v1/. Documented in docs/desk-api.md.

Every route but the one that issues a nonce is behind a signature; every refusal is one answer.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from relay.errors import DeskRefused, RelayError, TooLarge
from relay.intake.events import report
from relay.intake.handover import Handover, SignedRequest
from relay.queue.chain import Checkpoint
from relay.queue.store import Handout
from relay.seal.lists import Role
from relay.web.headers import dress
from relay.web.upload import paced

NEXT_NONCE = "Relay-Nonce"
_SCHEME = "Relay-Ed25519"
_MAX_BODY_BYTES = 64 * 1024
_MAX_ENVELOPE_BYTES = 66 << 20
_MIN_BYTES_PER_MINUTE = 4096
_MOST_ENTRIES = 1 << 62  # more than SQLite could number
_View = Callable[[str, web.Request, Any], Awaitable[web.Response]]
_Handler = Callable[[web.Request], Awaitable[web.Response]]


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        raise DeskRefused from None


class DeskApi:
    """The handlers of the desk's listener."""

    def __init__(self, handover: Handover) -> None:
        """Serve `handover`."""
        self._handover = handover

    def routes(self) -> list[web.RouteDef]:
        """Return every route of the desk; all but the first need a signature."""
        return [
            web.post("/desk/v1/nonce", self._issue_nonce),
            web.post("/desk/v1/lease", self._signed(self._lease, Role.PULL)),
            web.post("/desk/v1/free", self._signed(self._free, Role.ADMINISTER)),
            web.get("/desk/v1/waiting", self._signed(self._foresee, Role.PULL), allow_head=False),
            web.get(
                "/desk/v1/envelope/{id}",
                self._signed(self._envelope, Role.PULL),
                allow_head=False,
            ),
            web.get(
                "/desk/v1/campaign",
                self._signed(self._show_campaign, Role.PULL),
                allow_head=False,
            ),
            web.post(
                "/desk/v1/submission",
                self._signed(self._add, Role.PULL, max_bytes=_MAX_ENVELOPE_BYTES, read=bytes),
            ),
            web.post("/desk/v1/verdict", self._signed(self._decide, None)),
            web.post("/desk/v1/checkpoint", self._signed(self._keep_checkpoint, None)),
            web.get("/desk/v1/log", self._signed(self._log, None), allow_head=False),
        ]

    async def _issue_nonce(self, _: web.Request) -> web.Response:
        return _json({"nonce": self._handover.nonces.issue()})

    def _signed(
        self,
        view: _View,
        role: Role | None,
        *,
        max_bytes: int = _MAX_BODY_BYTES,
        read: Callable[[bytes], Any] = _parse,
    ) -> _Handler:
        """Wrap a view: who signed it, what is in it, and one shape for every refusal.

        role: which a colleague must have; None: any colleague. read: makes of the body what the
        view takes.
        """

        async def handler(request: web.Request) -> web.Response:
            try:
                signed = _signed_request(request)
                self._handover.expect(signed.untrusted_signer, signed.untrusted_nonce, role=role)
                signed = replace(signed, body=await _read_body(request, max_bytes))
                colleague = self._handover.authenticate(signed, role=role)
            except RelayError as error:
                return _refusal(error)
            try:
                response = await view(colleague, request, read(signed.body))
            except RelayError as error:
                report(error)
                response = _refusal(error)
            response.headers[NEXT_NONCE] = self._handover.nonces.issue()
            return response

        return handler

    async def _lease(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        return self._hand_out(await self._handover.lease(colleague))

    async def _foresee(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        return self._hand_out(await self._handover.foresee(colleague))

    def _hand_out(self, handout: Handout) -> web.Response:
        return _json(
            {
                "campaign": self._handover.campaign,
                "leases": [
                    {
                        "id": lease.id.hex(),
                        "day": lease.day.isoformat(),
                        "envelope": lease.envelope_sha256.hex(),
                    }
                    for lease in handout.leases
                ],
                "gone": [gone.hex() for gone in handout.gone],
                "take_down": [wanted.hex() for wanted in handout.take_down],
                "posted": [posted.hex() for posted in handout.posted],
                "lost": [lost.hex() for lost in handout.lost],
                "restored": [
                    {"copied": one.copied.isoformat(), "restored": one.restored.isoformat()}
                    for one in handout.restorations
                ],
            }
        )

    async def _free(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        if not isinstance(body, dict) or not isinstance(body.get("signer"), str):
            raise DeskRefused
        freed = await self._handover.free(colleague, body["signer"])
        return _json({"freed": [submission_id.hex() for submission_id in freed]})

    async def _envelope(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        try:
            submission_id = bytes.fromhex(request.match_info["id"])
        except ValueError:
            raise DeskRefused from None
        envelope = await self._handover.envelope(colleague, submission_id)
        response = web.Response(body=envelope, content_type="application/octet-stream")
        dress(response)
        return response

    async def _show_campaign(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        campaign = self._handover.open_campaign()
        return _json(
            {
                "campaign": campaign.name,
                "envelope_bytes": campaign.envelope_bytes,
                "recipient_slots": campaign.recipient_slots,
                "recipients": campaign.listed.encode(),
            }
        )

    async def _add(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        await self._handover.add(body)
        return _json({})

    async def _decide(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        try:
            statement, signature = str(body["statement"]), str(body["signature"])
            signer = str(body.get("signer", colleague))
            after_restore = body.get("after_restore") is True
        except (AttributeError, KeyError, TypeError):
            raise DeskRefused from None
        is_new = await self._handover.decide(
            colleague, statement, signer, signature, after_restore=after_restore
        )
        return _json({"already": not is_new})

    async def _log(self, colleague: str, request: web.Request, body: Any) -> web.Response:
        try:
            after = int(request.query.get("after", "0"))
        except ValueError:
            raise DeskRefused from None
        if not 0 <= after < _MOST_ENTRIES:
            raise DeskRefused
        page = await self._handover.read_log(after)
        return _json(
            {
                "campaign": self._handover.campaign,
                "base": {"seq": page.base.seq, "hash": page.base.hash.hex()},
                "checkpoint": page.checkpoint.to_json() if page.checkpoint else None,
                "entries": [entry.to_json() for entry in page.entries],
            }
        )

    async def _keep_checkpoint(
        self, colleague: str, request: web.Request, body: Any
    ) -> web.Response:
        if not isinstance(body, dict):
            raise DeskRefused
        await self._handover.keep_checkpoint(colleague, Checkpoint.from_json(body))
        return _json({})


def _signed_request(request: web.Request) -> SignedRequest:
    """Read what signs a request; its body is still to come."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    fields = rest.split(" ")
    if scheme != _SCHEME or len(fields) != 3:  # noqa: PLR2004 - signer, nonce, signature
        raise DeskRefused
    signer, nonce, signature = fields
    return SignedRequest(
        method=request.method,
        host=request.headers.get("Host", ""),
        path=request.raw_path,
        body=b"",
        untrusted_signer=signer,
        untrusted_nonce=nonce,
        untrusted_signature=signature,
    )


async def _read_body(request: web.Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for piece in paced(request, _MIN_BYTES_PER_MINUTE):
            body += piece
            if len(body) > max_bytes:
                raise TooLarge
    except (ClientError, ConnectionError, HttpProcessingError):
        raise DeskRefused from None
    return bytes(body)


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    response = web.json_response(answer, status=status)
    dress(response)
    return response


def _refusal(error: RelayError) -> web.Response:
    fields = {"error": type(error).__name__, "message": error.message}
    return _json(fields, status=error.http_status)
