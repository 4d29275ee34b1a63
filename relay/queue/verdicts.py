"""Verdicts: the statements that staff sign and the log keeps. Pure, no database, no keys."""

import json
from dataclasses import dataclass

from relay.errors import Corrupt
from relay.queue.states import Reason, Verdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a colleague decided about one envelope of one campaign."""

    campaign: str
    id: bytes
    envelope_sha256: bytes
    verdict: Verdict
    reason: Reason | None = None

    def statement(self) -> str:
        """Return the one text of this decision: what is signed, sent and logged."""
        fields = {
            "version": 1,
            "campaign": self.campaign,
            "id": self.id.hex(),
            "envelope": self.envelope_sha256.hex(),
            "verdict": self.verdict,
            "reason": self.reason,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, untrusted_statement: str) -> "Decision":
        """Read a statement.

        Raises:
            Corrupt: anything but the one text of a decision.
        """
        try:
            fields = json.loads(untrusted_statement)
            decision = cls(
                campaign=fields["campaign"],
                id=bytes.fromhex(fields["id"]),
                envelope_sha256=bytes.fromhex(fields["envelope"]),
                verdict=Verdict(fields["verdict"]),
                reason=Reason(fields["reason"]) if fields["reason"] is not None else None,
            )
        except (KeyError, TypeError, ValueError, RecursionError):
            raise Corrupt("Not a verdict.") from None
        is_return = decision.verdict is Verdict.RETURN
        if decision.statement() != untrusted_statement or is_return == (decision.reason is None):
            raise Corrupt("Not a verdict.")
        return decision


@dataclass(frozen=True, kw_only=True)
class SignedVerdict:
    """A decision, who signed it (relaysigner1…), and the base64 Ed25519 signature."""

    decision: Decision
    signer: str
    signature: str
