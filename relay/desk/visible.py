"""What can be seen in a photo although nobody marked it as printed on the poster."""

from collections.abc import Iterable, Sequence

from relay.desk.journal import Journal
from relay.errors import StillVisible
from relay.queue.states import Verdict
from relay.queue.verdicts import Decision
from relay.scrub.canonical import Size
from relay.scrub.found import Box, Found, Kind, is_same
from relay.seal.envelope import Submission

_NAMES = {Kind.FACE: "face", Kind.CODE: "code"}


def name_of(found: Found) -> str:
    """Return what it is, in a word."""
    return _NAMES[found.kind]


def words_for(found: Sequence[Found]) -> str:
    """Return one sentence; empty where nothing was found."""
    counts = {name: sum(name_of(one) == name for one in found) for name in _NAMES.values()}
    seen = [count_of(count, name) for name, count in counts.items() if count]
    was = "was" if len(found) == 1 else "were"
    can_be = f"can be seen that {was} not marked as printed on the poster."
    return f"{' and '.join(seen)} {can_be}" if seen else ""


def count_of(count: int, name: str) -> str:
    """Return "1 face" or "2 faces"."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def marked_in(submission: Submission, size: Size) -> list[Box]:
    """Return the faces that she left visible, as far as they lie in a photo of this size."""
    boxes = (Box(*sides) for sides in submission.visible)
    return [box for box in boxes if box.lies_in(size)]


def merged(known: Iterable[Box], seen: Iterable[Box]) -> list[Box]:
    """Return what is known, and behind it what was seen besides."""
    boxes = list(known)
    boxes += [box for box in seen if not any(is_same(box, other) for other in boxes)]
    return boxes


def uncovered(boxes: Iterable[Box], covers: Sequence[Box]) -> tuple[Box, ...]:
    """Return what a look at the covered photo does not clear, although it may find nothing there.

    Where something was covered, that look is at a photo coded once more, in which a score may fall
    short: only what a cover hides is cleared. Where nothing was, it is the first look over again,
    and clears all.
    """
    return tuple(box for box in boxes if covers and not any(_hides(one, box) for one in covers))


def _hides(cover: Box, box: Box) -> bool:
    return cover.shared_with(box) == box.width * box.height


def refuse_visible(journal: Journal, decision: Decision, because: str | None) -> None:
    """Return where a photo may go out: nothing is visible in it, or somebody says why.

    because: why it is released all the same; a reason that was given here before will do. What was
    sent before stays so. What was only signed, on this laptop or another, may not go out unseen.

    Raises:
        StillVisible: with what to do.
    """
    submission_id = decision.id.hex()
    if decision.verdict is not Verdict.RELEASE or because is not None:
        return
    if is_sent(journal, decision) or submission_id in journal.reasons:
        return
    cover = f"relay desk cover {submission_id}"
    if submission_id in journal.covering:
        raise StillVisible(
            "Not released: a cover of it was cut short, or a drive with a copy was away. "
            f"Run again: {cover}"
        )
    if count := len(journal.looked.get(submission_id, [])):
        where = "in 1 place" if count == 1 else f"in {count} places"
        raise StillVisible(
            f"Not released: what can be seen {where} was not marked as printed on the poster. "
            f'Cover it: {cover}, or say why it may be seen: --visible-because "…"'
        )


def needs_reason(journal: Journal, submission_id: str) -> bool:
    """Whether its release has to be explained."""
    return submission_id in journal.covering or bool(journal.looked.get(submission_id))


def was_looked_at(journal: Journal, decision: Decision) -> bool:
    """Whether this desk has looked, or need not: it is no release, or stands already."""
    is_looked = decision.id.hex() in {**journal.looked, **journal.covering}
    return is_looked or decision.verdict is not Verdict.RELEASE or is_sent(journal, decision)


def is_sent(journal: Journal, decision: Decision) -> bool:
    """Whether this desk has sent that verdict before."""
    submission_id, verdicts = decision.id.hex(), journal.verdicts
    sent = {verdicts.confirmed.get(submission_id), verdicts.sent.get(submission_id)}
    return str(decision.verdict) in sent
