"""The desk's side of the relay: who asks, what they are handed, what they decide."""

import datetime as dt
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nacl.encoding import RawEncoder
from nacl.hash import blake2b

from relay.errors import Corrupt, DeskRefused
from relay.intake.door import Campaign, Door
from relay.intake.submit import utc_today
from relay.queue.chain import Checkpoint
from relay.queue.store import Handout, LogPage, SealedQueue
from relay.queue.verdicts import Decision, SignedVerdict
from relay.receipt import ServiceKeys, digest_content
from relay.seal import signing
from relay.seal.envelope import check_shape
from relay.seal.lists import Colleague, Role
from relay.seal.signing import Signer

NONCE_S = 300
_RANDOM_BYTES = 16
_MAC_BYTES = 16
_TIME_BYTES = 8
LOG_PAGE = 1000
_ADDED = b"added"  # in the place of a form's token


class NonceBook:
    """Single-use nonces under a key of this run: a restart spends them all at once."""

    def __init__(self) -> None:
        """Begin with a fresh key and nothing spent."""
        self._key = secrets.token_bytes(32)
        self._spent: dict[bytes, float] = {}

    def issue(self) -> str:
        """Return a nonce, good once within five minutes. Nothing is stored for it."""
        expires = int(time.monotonic()) + NONCE_S
        body = expires.to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_RANDOM_BYTES)
        return (body + self._mac(body)).hex()

    def spend(self, untrusted_nonce: str) -> None:
        """Use a nonce up.

        Raises:
            DeskRefused: not ours, too old, or spent.
        """
        body, expires = self.check(untrusted_nonce)
        self._spent[body] = expires

    def check(self, untrusted_nonce: str) -> tuple[bytes, int]:
        """Return what is kept of a nonce that can still be used, and until when.

        Raises:
            DeskRefused: not ours, too old, or spent.
        """
        try:
            raw = bytes.fromhex(untrusted_nonce)
        except ValueError:
            raise DeskRefused from None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        now = time.monotonic()
        if not secrets.compare_digest(mac, self._mac(body)):
            raise DeskRefused
        expires = int.from_bytes(body[:_TIME_BYTES], "big")
        self._spent = {nonce: until for nonce, until in self._spent.items() if until >= now}
        if expires < now or body in self._spent:
            raise DeskRefused
        return body, expires

    def _mac(self, body: bytes) -> bytes:
        return blake2b(body, digest_size=_MAC_BYTES, key=self._key, encoder=RawEncoder)


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """One request as it arrived, before anything of it is believed."""

    method: str
    host: str
    path: str
    body: bytes = field(repr=False)
    untrusted_signer: str
    untrusted_nonce: str
    untrusted_signature: str


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What the desk's API can do, each for an authenticated colleague."""

    campaign: str
    door: Door
    keys: ServiceKeys
    staff: Mapping[str, Colleague]
    queue: SealedQueue
    nonces: NonceBook
    same_day_pull: bool
    today: Callable[[], dt.date] = utc_today

    def authenticate(self, request: SignedRequest, *, role: Role | None) -> str:
        """Return the colleague who signed the request and has that role; None: any colleague.

        Raises:
            DeskRefused: unknown signer, wrong signature, spent nonce, no such role: one answer.
        """
        self.expect(request.untrusted_signer, request.untrusted_nonce, role=role)
        signer = self.staff[request.untrusted_signer].signer
        try:
            statement = signing.request_statement(
                method=request.method,
                host=request.host,
                path=request.path,
                body=request.body,
                nonce=request.untrusted_nonce,
            )
            signer.verify(signing.REQUEST, statement, request.untrusted_signature)
        except (Corrupt, UnicodeError):
            raise DeskRefused from None
        self.nonces.spend(request.untrusted_nonce)
        return signer.encoded

    def expect(self, untrusted_signer: str, untrusted_nonce: str, *, role: Role | None) -> None:
        """Return where the body of such a request is worth reading.

        Raises:
            DeskRefused: no such colleague, no such role, no nonce of ours.
        """
        colleague = self.staff.get(untrusted_signer)
        if colleague is None or (role is not None and role not in colleague.roles):
            raise DeskRefused
        self.nonces.check(untrusted_nonce)

    async def lease(self, colleague: str) -> Handout:
        """Lease what waits to `colleague`; days past, unless configured otherwise."""
        return await self.queue.lease(
            colleague, today=self.today(), include_today=self.same_day_pull
        )

    async def foresee(self, colleague: str) -> Handout:
        """Return what `lease` would, and lease nothing."""
        return await self.queue.foresee(
            colleague, today=self.today(), include_today=self.same_day_pull
        )

    async def free(self, colleague: str, untrusted_holder: str) -> tuple[bytes, ...]:
        """End the leases of a colleague whose laptop is lost; she may have left the staff file."""
        try:
            holder = Signer.parse(untrusted_holder).encoded
        except ValueError:
            raise DeskRefused from None
        return await self.queue.free(holder, by=colleague, today=self.today())

    async def envelope(self, colleague: str, submission_id: bytes) -> bytes:
        """Return an envelope that `colleague` has leased."""
        return await self.queue.envelope(submission_id, colleague)

    def open_campaign(self) -> Campaign:
        """Return what a colleague needs to seal a photo herself.

        Raises:
            Closed: the form is closed, and so is this way in.
        """
        return self.door.require_open()

    async def add(self, untrusted_file: bytes) -> None:
        """Keep an envelope that a colleague sealed; the same one twice is one submission.

        It has no receipt: who sent the photo by e-mail asks the team by e-mail.

        Raises:
            Corrupt: not of the shape that every envelope has. Closed, QueueFull, NotKept.
        """
        campaign = self.door.require_open()
        check_shape(
            untrusted_file,
            campaign.recipients[0],
            envelope_bytes=campaign.envelope_bytes,
            recipient_slots=campaign.recipient_slots,
        )
        receipt = self.keys.receipt_for(_ADDED, digest_content([untrusted_file]), 0)
        hashed = self.keys.hash_receipt(receipt)
        if not await self.queue.enqueue(untrusted_file, hashed, today=self.today()):
            raise Corrupt("This envelope was here before, and is gone.")

    async def decide(
        self,
        colleague: str,
        untrusted_statement: str,
        untrusted_signer: str,
        signature: str,
        *,
        after_restore: bool = False,
    ) -> bool:
        """Carry out a verdict that `colleague` brings. Returns False where it stood already.

        It may be another's: photos are looked at on a laptop that is never online.

        Raises:
            Corrupt: not a verdict, not of this campaign, or not signed by one who may decide.
            NothingThere, LockedByColleague, HeldAfterRestore: see `SealedQueue.decide`.
        """
        signer = self._decider(untrusted_signer)
        if not untrusted_statement.isascii():
            raise Corrupt("Not a verdict.")
        signer.verify(signing.VERDICT, untrusted_statement.encode(), signature)
        decision = Decision.parse(untrusted_statement)
        if decision.campaign != self.campaign:
            raise Corrupt("A verdict for another campaign.")
        verdict = SignedVerdict(decision=decision, signer=signer.encoded, signature=signature)
        return await self.queue.decide(
            verdict, bearer=colleague, today=self.today(), after_restore=after_restore
        )

    def _decider(self, untrusted_signer: str) -> Signer:
        """Return the colleague whose verdicts count: the one place that says who may decide."""
        colleague = self.staff.get(untrusted_signer)
        if colleague is None or Role.RELEASE not in colleague.roles:
            raise Corrupt("The relay takes no verdicts from whoever signed this one (staff.txt).")
        return colleague.signer

    async def keep_checkpoint(self, colleague: str, checkpoint: Checkpoint) -> None:
        """Keep a head of the log that `colleague` vouches for; older entries may then be dropped.

        Raises:
            Corrupt: not signed by this colleague, or not a head of this log.
        """
        statement = checkpoint.head.statement(self.campaign).encode()
        self.staff[colleague].signer.verify(signing.CHECKPOINT, statement, checkpoint.signature)
        await self.queue.keep_checkpoint(replace(checkpoint, signer=colleague))

    async def read_log(self, after: int) -> LogPage:
        """Return up to 1,000 entries of the log after number `after`."""
        return await self.queue.read_log(after=after, limit=LOG_PAGE)
