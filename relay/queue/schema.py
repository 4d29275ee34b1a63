"""The tables of the sealed queue. There is no column for an address, a name, or a clock.

Days are UTC days. Nothing here is ordered by arrival: the primary key is random and there is no
row id; `log` is ordered, and takes the arrivals of a day in the order of their ids.
"""

from sqlalchemy import (
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    event,
)

from relay.queue.states import State

# A database of an earlier one is brought to ours when it is opened; one of any other is refused.
# 2 added the state "answered", 3 "lost". Source: relay/queue/migrations/versions.
REVISIONS = {1: "0001", 2: "0002", 3: "0003"}
SCHEMA_VERSION = max(REVISIONS)
REVISION = REVISIONS[SCHEMA_VERSION]
# In the place of a holder: whoever pulled it since the copy from which the queue was restored.
UNKNOWN_HOLDER = ""
# In the place of a revision. What is left where a queue was moved away: it is never served again.
MOVED = "moved"
# Moved to here, and perhaps still served where it was.
ARRIVING = "arriving"
NUMBERS = {name: number for number, name in REVISIONS.items()} | {MOVED: 1 << 30, ARRIVING: 1 << 29}

metadata = MetaData()

_STATES = ", ".join(f"'{state}'" for state in State)

submission = Table(
    "submission",
    metadata,
    # 128 random bits.
    Column("id", LargeBinary(16), primary_key=True),
    # The day it was acknowledged.
    Column("day", Date, nullable=False),
    Column("state", String(9), nullable=False),
    # The day of the last change of state.
    Column("changed_day", Date, nullable=False),
    # BLAKE2b-256 of the receipt under a key that is not in this database.
    Column("receipt_hash", LargeBinary(32), nullable=False),
    # SHA-256 of the envelope; what the log and the verdicts speak of.
    Column("envelope_sha256", LargeBinary(32), nullable=False),
    # relaysigner1… of the colleague who pulled it last, and the day. Of what was lost, nobody's:
    # UNKNOWN_HOLDER.
    Column("holder", String(80)),
    Column("lease_day", Date),
    # One of states.Reason, where it was returned.
    Column("return_reason", String(24)),
    # She asked for the post to be taken down, or the question to be dropped, after release.
    Column("take_down", Boolean, nullable=False, default=False),
    # Whether the log has its arrival, and its withdrawal or removal.
    Column("arrival_logged", Boolean, nullable=False, default=False),
    Column("end_logged", Boolean, nullable=False, default=False),
    CheckConstraint(f"state IN ({_STATES})", name="submission_state_check"),
    Index("submission_by_receipt", "receipt_hash", unique=True),
    Index("submission_by_state", "state", "day"),
    sqlite_with_rowid=False,
)

# What is sealed, apart from its state: a change of state must not rewrite half a megabyte.
envelope = Table(
    "envelope",
    metadata,
    # The submission's id. The row is deleted, and its pages zeroed, when the envelope is destroyed.
    Column("id", LargeBinary(16), primary_key=True),
    # The age file.
    Column("sealed", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
# It looks like noise: PostgreSQL need not try to compress it.
event.listen(
    envelope,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "ALTER TABLE envelope ALTER COLUMN sealed SET STORAGE EXTERNAL"
    ).execute_if(dialect="postgresql"),
)

log = Table(
    "log",
    metadata,
    # 1, 2, 3, … without a gap.
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("day", Date, nullable=False),
    # One of: arrived, leased, freed, released, returned, posted, answered, removed, withdrawn,
    # expired; or restored, of no submission (an id and a digest of zeros).
    Column("action", String(9), nullable=False),
    Column("submission_id", LargeBinary(16), nullable=False),
    Column("envelope_sha256", LargeBinary(32), nullable=False),
    # relaysigner1… of the colleague who acted; NULL where the relay or the submitter did.
    Column("signer", String(80)),
    # The signed verdict, as signed, and its base64 Ed25519 signature; of restored, the day of the
    # copy in ISO form and no signature; NULL for everything else.
    Column("statement", Text),
    Column("signature", String(88)),
    # SHA-256 over the hash before and everything above.
    Column("hash", LargeBinary(32), nullable=False),
)

# A few rows, JSON each. "held": how many envelopes there are. "turned": the day that was last
# turned. "cover": noise rewritten at fixed intervals, so that the last change of the file tells of
# no arrival. "checkpoint": the newest head of the log that a colleague vouched for. "base": the
# head before the oldest entry still kept. "recipients": number and digest of each signer's newest
# list. "owner": the campaign, and a hash under the service's key, which must not be another.
# "restored": from copies of which days the queue was restored, and when.
marker = Table(
    "marker",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
