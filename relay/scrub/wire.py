"""What crosses the border of the box: numbers and boxes of fixed size, and one JPEG."""

import enum
import struct

LONG_SIDE_PX = 1600
QUALITY = 85
MAX_UPLOAD_BYTES = 64 << 20  # the box reads no more than this, whatever the configuration says

# Request: bytes of the largest acceptable JPEG, highest quality, view, whether a box has redrawn it
# before, whether faces and codes are looked for, whether a preview comes back beside the photo, how
# many marks follow, and after them how many bytes of photo.
REQUEST = struct.Struct("!IBB???HI")
# A mark: its number, whether it is solid, its box.
MARK = struct.Struct("!H?4H")
# Answer: code, width and height in px, quality, what was removed (bits), quality of the preview,
# how much was found, bytes of JPEG, bytes of the preview. What was found follows: kind, box; then
# the JPEG; then the preview.
ANSWER = struct.Struct("!BHHBHBHII")
FOUND = struct.Struct("!B4H")
# What the box says once it is warm: whether it will work, and the walls that stand (bits).
READY = struct.Struct("!BH")
JOB = b"J"
HEIC = "heic"  # the argument that makes a box open HEIC and nothing else


class Layer(enum.IntFlag):
    """The walls of the box. Their lower-case names stand in `accept_missing`."""

    USER = enum.auto()
    NAMESPACES = enum.auto()
    LANDLOCK = enum.auto()
    SECCOMP = enum.auto()

    @property
    def word(self) -> str:
        """The name of one wall, as an operator writes it."""
        return str(self.name).lower()


NO_LAYERS, ALL_LAYERS = Layer(0), Layer(2 * max(Layer) - 1)


class Start(enum.IntEnum):
    """How the start of a box ended."""

    WARM = 0
    HEIC_UNSAFE = 1  # its decoder is not installed, or known to be vulnerable
    WEIGHTS_AMISS = 2  # the detector's files are missing, or not the ones that were measured


class View(enum.IntEnum):
    """How large a picture comes back."""

    PHOTO = 0  # one of canonical.SIZES
    PREVIEW = 1  # large enough to see a face in it
    THUMBNAIL = 2  # large enough to tell posters apart, too small to tell who a face is

    @property
    def side_px(self) -> int:
        """Its long side; of a photo, the longest."""
        return (LONG_SIDE_PX, 600, 240)[self]

    @property
    def quality(self) -> int:
        """The highest quality that it is coded in."""
        return (100, 60, 60)[self]

    @property
    def max_bytes(self) -> int:
        """The most that it takes, coded; a photo may be bound more closely."""
        return (MAX_UPLOAD_BYTES, 40 << 10, 18 << 10)[self]


class Code(enum.IntEnum):
    """How a job ended. Anything else, and any silence, is a crash."""

    CLEAN = 0
    UNSUPPORTED = 1
    DAMAGED = 2
    TOO_COMPLEX = 3


class Removed(enum.IntFlag):
    """What a photo carried besides its picture: a closed vocabulary, never a value."""

    NOTHING = 0
    POSITION = enum.auto()
    TIME = enum.auto()
    DEVICE = enum.auto()
    SERIAL_NUMBER = enum.auto()
    THUMBNAIL = enum.auto()
    EDIT_HISTORY = enum.auto()
    CONTENT_CREDENTIALS = enum.auto()
    SECOND_PICTURE = enum.auto()
    VIDEO = enum.auto()
    COMMENT = enum.auto()
    COLOUR_PROFILE = enum.auto()
    HIDDEN_PIXELS = enum.auto()

    def words(self) -> list[str]:
        """Return the members as lower-case words, in a fixed order."""
        return [str(flag.name).lower().replace("_", " ") for flag in Removed if flag in self]
