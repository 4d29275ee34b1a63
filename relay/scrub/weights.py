"""The two trained networks: read once, known by their hash, made to take pictures of any size.

They are files of ONNX, a protocol buffer. Source: onnx.proto3 of ONNX (the numbers of its fields),
and "Encoding" in the guide to protocol buffers.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.errors import WeightsAmiss


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One file: its name, the one content that it may have, and the answers of it that we use."""

    name: str
    sha256: str
    outputs: tuple[str, ...]

    def read(self, folder: Path) -> bytes:
        """Return the file as it was published.

        Raises:
            WeightsAmiss: it is missing, or is another.
        """
        path = folder / self.name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsAmiss(f"{path}: {error.strerror}: run scripts/weights") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise WeightsAmiss(f"{path}: is not the pinned file: run scripts/weights")
        return content


# Source: YuNet of March 2023 (OpenCV Zoo), MIT; CenterFace (Star-Clouds, 2019), MIT. What they say
# of eyes, nose and mouth (kps_*, 540) is not asked for.
YUNET = Weights(
    name="yunet.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    outputs=tuple(f"{one}_{stride}" for one in ("cls", "obj", "bbox") for stride in (8, 16, 32)),
)
CENTERFACE = Weights(
    name="centerface.onnx",
    sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    outputs=("537", "538", "539"),
)

_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_GRAPH = 7  # of a model
_INPUT, _OUTPUT, _SHAPE_INSIDE = 11, 12, 13  # of a graph
_NAME, _TYPE = 1, 2  # of what goes in or comes out
_TENSOR, _ELEMENT, _SHAPE = 1, 1, 2  # of a type
_DIMENSION, _LENGTH, _UNKNOWN = 1, 1, 2  # of a shape
_FLOAT = 1


def open_up(model: bytes, outputs: tuple[str, ...]) -> bytes:
    """Return the model for one picture (1, 3, any height, any width), answering `outputs` alone.

    As published, one is fixed at 640 px and the other at ten pictures of 32 px, and one lists its
    weights as something that may change, which keeps a runtime from making use of them.
    """
    opened = []
    for number, value, whole in _fields(model):
        opened.append(_write(_GRAPH, _open_graph(value, outputs)) if number == _GRAPH else whole)
    return b"".join(opened)


def _open_graph(graph: bytes, outputs: tuple[str, ...]) -> bytes:
    opened = []
    has_input = False
    for number, value, whole in _fields(graph):
        if number == _INPUT:
            if not has_input:  # the first is the picture, the others are weights
                opened.append(_write(_INPUT, _any_size(_name_of(value))))
            has_input = True
        elif number == _OUTPUT:
            if _name_of(value).decode() in outputs:
                name = _write(_NAME, _name_of(value))
                opened.append(
                    _write(_OUTPUT, name + _write(_TYPE, _write(_TENSOR, _ELEMENT_IS_FLOAT)))
                )
        elif number != _SHAPE_INSIDE:
            opened.append(whole)
    return b"".join(opened)


def _any_size(name: bytes) -> bytes:
    lengths = [
        _number(_LENGTH, 1),
        _number(_LENGTH, 3),
        *(_write(_UNKNOWN, one) for one in (b"h", b"w")),
    ]
    shape = b"".join(_write(_DIMENSION, one) for one in lengths)
    return _write(_NAME, name) + _write(
        _TYPE, _write(_TENSOR, _ELEMENT_IS_FLOAT + _write(_SHAPE, shape))
    )


def _name_of(value: bytes) -> bytes:
    return next(inner for number, inner, _ in _fields(value) if number == _NAME)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Give each field: its number, its bytes where it has any, and the whole of it."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        value = b""
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _BYTES:
            length, at = _read_varint(message, at)
            value = message[at : at + length]
            at += length
        else:
            at += _FIXED_BYTES[kind]
        yield number, value, message[start:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says "more follows"
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - as above
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _write(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


_ELEMENT_IS_FLOAT = _number(_ELEMENT, _FLOAT)
