"""The states of a submission and what may follow what.

sealed -> leased -> released -> posted, answered
   |         |-> returned       |-> withdrawn: what was posted is gone again, as she asked
   |-> withdrawn, expired (from sealed and leased); leased -> sealed: run out, or freed
lost: what was sealed, leased or released when the copy was made that a relay was restored from;
from there to released, returned, posted, answered as staff say, and to withdrawn as she says
"""

import enum


class State(enum.StrEnum):
    """Where a submission stands."""

    SEALED = "sealed"
    LEASED = "leased"
    RELEASED = "released"
    POSTED = "posted"
    ANSWERED = "answered"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    LOST = "lost"


class Verdict(enum.StrEnum):
    """What staff decide; of what is released, they say what became of it."""

    RELEASE = "release"
    RETURN = "return"
    POST = "post"
    ANSWER = "answer"
    REMOVE = "remove"  # the post that she wanted taken down is gone


class Reason(enum.StrEnum):
    """Why a submission was returned: a fixed list, so that it can be said in her language."""

    FACE_VISIBLE = "face-visible"
    TEXT_UNREADABLE = "text-unreadable"
    NOT_A_POSTER = "not-a-poster"
    MORE_THAN_ONE_PERSON = "more-than-one-person"
    DESTROYED_UNSEEN = "destroyed-unseen"
    OTHER = "other"


# An envelope is held in these; in the others it has been destroyed.
HELD = (State.SEALED, State.LEASED, State.RELEASED)
OPEN = (State.SEALED, State.LEASED)
# To her, what these leave behind is nothing: a new send of the same content starts afresh.
GONE = (State.WITHDRAWN, State.EXPIRED)
ENDED = (State.POSTED, State.ANSWERED, State.RETURNED, State.LOST, *GONE)
# After release she can only ask for what came of it to be taken down.
OUT = (State.RELEASED, State.POSTED, State.ANSWERED)

# A verdict about what waits, and one about what is released already.
FIRST = (Verdict.RELEASE, Verdict.RETURN)
LATER = (Verdict.POST, Verdict.ANSWER, Verdict.REMOVE)
# What the log calls each.
ACTIONS = {
    Verdict.RELEASE: "released",
    Verdict.RETURN: "returned",
    Verdict.POST: "posted",
    Verdict.ANSWER: "answered",
    Verdict.REMOVE: "removed",
}
# And what it calls it that the queue was set up again from a copy.
RESTORED = "restored"
# Where each leads to.
LEADS_TO = {
    Verdict.RELEASE: State.RELEASED,
    Verdict.RETURN: State.RETURNED,
    Verdict.POST: State.POSTED,
    Verdict.ANSWER: State.ANSWERED,
    Verdict.REMOVE: State.WITHDRAWN,
}
