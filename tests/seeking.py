"""Look for many short byte strings in a lot of memory, in one pass instead of one for each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

_WORD = 4  # bytes; whatever its place, one of the first four windows of a needle lies on a word
_LEAST = 2 * _WORD - 1
_SMALL = 1 << 12  # bytes; below it a search for each costs less
_SLICE = 1 << 16  # words at a time: what is made of them stays in the processor's cache
_FACTOR, _SHIFT = np.uint32(2654435761), np.uint32(16)  # Source: Knuth, multiplicative hashing


class Needles:
    """Names, and for each of them byte strings of which one is enough."""

    def __init__(self, forms_by_name: Mapping[str, Sequence[bytes]]) -> None:
        self._forms = forms_by_name
        self._short: list[tuple[str, bytes]] = []
        self._windows: dict[int, list[tuple[str, bytes, int]]] = defaultdict(list)
        for name, forms in forms_by_name.items():
            for form in forms:
                if len(form) < _LEAST:
                    self._short.append((name, form))
                    continue
                for start in range(_WORD):
                    word = int.from_bytes(form[start : start + _WORD], "little")
                    self._windows[word].append((name, form, start))
        self._words = np.array(list(self._windows), np.uint32)
        self._is_wanted = np.zeros(1 << 16, np.bool_)
        self._is_wanted[_hash(self._words)] = True

    def within(self, content: bytes) -> set[str]:
        """Return the names of which something is in there."""
        if len(content) < _SMALL:
            every = self._forms.items()
            return {name for name, forms in every if any(form in content for form in forms)}
        found = {name for name, form in self._short if form in content}
        words = np.frombuffer(content, "<u4", count=len(content) // _WORD)
        for first in range(0, len(words), _SLICE):
            piece = words[first : first + _SLICE]
            places = np.flatnonzero(self._is_wanted[_hash(piece)])
            places = places[np.isin(piece[places], self._words)]
            for place in places.tolist():
                for name, form, start in self._windows[int(piece[place])]:
                    at = (first + place) * _WORD - start
                    if name not in found and at >= 0 and content.startswith(form, at):
                        found.add(name)
        return found


def _hash(words: np.ndarray) -> np.ndarray:
    return (words * _FACTOR) >> _SHIFT
