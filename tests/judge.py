"""An independent judge of a cleaned photo: exiftool, djpeg, jpegtran; nothing of ours.

Where the shared checker is there, it judges too.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import SHARED

# What exiftool says of any JPEG that is only a picture.
_STRUCTURE = {
    "SourceFile",
    "ExifTool:ExifToolVersion",
    "File:FileType",
    "File:FileTypeExtension",
    "File:MIMEType",
    "File:ImageWidth",
    "File:ImageHeight",
    "File:EncodingProcess",
    "File:BitsPerSample",
    "File:ColorComponents",
    "File:YCbCrSubSampling",
    "JFIF:JFIFVersion",
    "JFIF:ResolutionUnit",
    "JFIF:XResolution",
    "JFIF:YResolution",
    "Composite:ImageSize",
    "Composite:Megapixels",
}
CHECKER = SHARED / "tools" / "check_clean.py"


def judge(path: Path) -> None:
    """Assert that `path` is a JPEG with a picture and nothing else."""
    tags = json.loads(_run("exiftool", "-a", "-G1", "-u", "-U", "-ee", "-j", "-n", str(path)))[0]
    found = {name for name in tags if not name.startswith("System:")}
    assert found <= _STRUCTURE, found - _STRUCTURE
    _run("djpeg", "-strict", "-outfile", "/dev/null", str(path))
    assert _run("jpegtran", "-copy", "none", str(path)) == path.read_bytes()
    if CHECKER.is_file():
        _run(
            sys.executable,
            str(CHECKER),
            "--max-side",
            "1600",
            "--tools",
            "exiftool,djpeg,jpegtran,jpeginfo",
            str(path),
        )


def _run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.stdout
