"""The states of a submission and what may follow what.

sealed -> leased -> released -> posted
   |         |-> returned
   |-> withdrawn, expired (from sealed and leased); leased -> sealed: run out, or freed
"""

import enum


class State(enum.StrEnum):
    """Where a submission stands."""

    SEALED = "sealed"
    LEASED = "leased"
    RELEASED = "released"
    POSTED = "posted"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Verdict(enum.StrEnum):
    """What staff decide."""

    RELEASE = "release"
    RETURN = "return"


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
ENDED = (State.POSTED, State.RETURNED, *GONE)
