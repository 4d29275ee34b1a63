"""Catalogues: keep them in step with the pages, say where one is not whole, record a review."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import write_po
from jinja2.ext import babel_extract

from relay import errors
from relay.web.catalogues import LANGUAGES, SOURCE, digest, read_catalogue
from relay.web.pages import POSTERS, REASONS, REMOVALS, SENTENCES

_CATALOGUES, _TEMPLATES = "relay/web/catalogues", "relay/web/templates"
# In the order of her journey: whoever translates reads them as she does.
_JOURNEY = ("form", "cover", "held", "thrown", "sent", "receipt", "standing", "error")
_PLACEHOLDER = re.compile(r"%\(\w+\)s")
# What could break a page or turn its direction; joiners (200C, 200D) belong to several scripts.
_UNWANTED = re.compile(
    r"[<>&\"\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_HEAD = """# The sentences of the pages. Before you translate: docs/translating.md
msgid ""
msgstr ""
"Language: {code}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def collect(root: Path) -> dict[str, list[str]]:
    """Return every sentence that a page can show, with the pages that show it."""
    found: dict[str, list[str]] = {}
    templates = sorted(
        (root / _TEMPLATES).glob("*.html"),
        key=lambda path: _JOURNEY.index(path.stem) if path.stem in _JOURNEY else len(_JOURNEY),
    )
    for path in templates:
        with path.open("rb") as file:
            for _, _, said, _ in babel_extract(file, ["_"], [], {"silent": "false"}):
                sentence = said[0] if isinstance(said, tuple) else said  # a number stands in it
                if sentence is not None:  # else code chooses it: below
                    found.setdefault(str(sentence), []).append(path.stem)
    for where, sentences in {
        "form, the poster is": POSTERS.values(),
        "receipt, what was taken off": REMOVALS.values(),
        "status": SENTENCES.values(),
        "status, why it was returned": REASONS.values(),
    }.items():
        for sentence in sentences:
            found.setdefault(sentence, []).append(where)
    for error in _shown_errors():
        for sentence in (error.message, error.hint, error.question_hint):
            if sentence:
                found.setdefault(sentence, []).append("something went wrong")
    return found


def _shown_errors() -> Iterator[type[errors.RelayError]]:
    """Yield what a submitter can be told."""
    yield errors.RelayError
    todo: list[type[errors.RelayError]] = [
        errors.SubmissionRefused,
        errors.ComeBack,
        errors.ScrubFailed,
    ]
    while todo:
        error = todo.pop(0)
        yield error
        todo += error.__subclasses__()


def update(root: Path) -> None:
    """Give each catalogue the sentences that it lacks, and take out those that no page has."""
    wanted = collect(root)
    for code in LANGUAGES:
        if code == SOURCE:
            continue
        path = root / _CATALOGUES / f"{code}.po"
        old = read_catalogue(code) if path.exists() else Catalog()
        merged = Catalog(fuzzy=False)
        for sentence, places in wanted.items():
            before = old.get(sentence)
            text = before.string if before is not None else ""
            merged.add(sentence, text, auto_comments=[", ".join(dict.fromkeys(places))])
        with path.open("wb") as file:
            file.write(_HEAD.format(code=code).encode())
            write_po(file, merged, omit_header=True, width=0)


def check(root: Path) -> list[str]:
    """Return what is wrong with the catalogues: an offered language lacks no sentence."""
    wanted = set(collect(root))
    problems = []
    for code in LANGUAGES:
        if code != SOURCE:
            problems += [f"{code}.po: {problem}" for problem in _check_one(code, wanted)]
    return problems


def _check_one(code: str, wanted: set[str]) -> Iterator[str]:
    messages = {str(message.id): message for message in read_catalogue(code) if message.id}
    for sentence in sorted(wanted - set(messages)):
        yield f"has not: {sentence}"
    for sentence in sorted(set(messages) - wanted):
        yield f"no page has: {sentence}"
    for sentence in sorted(wanted & set(messages)):
        if complaint := _complain(messages[sentence]):
            yield f"{complaint}: {sentence}"


def _complain(message: Message) -> str:
    source, text = str(message.id), str(message.string)
    numbers = _PLACEHOLDER.findall(text)
    complaints = {
        "is not translated": not text or message.fuzzy,
        "has other placeholders": sorted(_PLACEHOLDER.findall(source)) != sorted(numbers),
        "has a % that is none": text.count("%") != len(numbers),
        "has a character that could break the page": bool(_UNWANTED.search(text)),
        "has a space too many": text != text.strip() or "  " in text,
        "has other numbers": _digits(source) != _digits(text),
    }
    return next((complaint for complaint, is_so in complaints.items() if is_so), "")


def _digits(text: str) -> list[int]:
    """Return the numbers of a sentence, in whatever digits, in any order."""
    return sorted(int(number) for number in re.findall(r"\d+", text))


def record_review(root: Path, code: str, by: str) -> None:
    """Take note that `by` has read every sentence of that catalogue and vouches for it."""
    if problems := list(_check_one(code, set(collect(root)))):
        raise SystemExit("\n".join([*problems, f"{code}.po is not whole: nobody can vouch for it"]))
    if not by.strip():
        raise SystemExit("a name, or one that she is known by")
    path = root / _CATALOGUES / "reviews.toml"
    reviews = tomllib.loads(path.read_text("utf-8"))
    reviews[code] = {"by": by, "digest": digest(read_catalogue(code))}
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    for one, review in sorted(reviews.items()):
        head += ["", f"[{one}]", *(f"{key} = {json.dumps(value)}" for key, value in review.items())]
    path.write_text("\n".join(head) + "\n", "utf-8")
