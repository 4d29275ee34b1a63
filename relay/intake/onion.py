"""The tor that brings visitors: whether it is there, supported, and keeps its keys to itself."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

from relay.config import ServerConfig
from relay.intake.finding import Finding, advice, ok, refused

_OLDEST_TOR = (0, 4, 8)  # the first with proof of work for onion services
_TOR_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
_TOR_FOLDERS = Path("/var/lib/poster-relay-tor")  # of the installed relay
_ANSWER_S = 5.0
_MANY_BYTES = 1 << 16


def check_tor(config: ServerConfig) -> list[Finding]:
    """Look whether there is a tor to bring visitors, where the relay expects one."""
    if not (config.onion_listen or config.onion_address or config.tor_control):
        return [ok("tor", "not used: no onion_listen")]
    findings = [_check_program()]
    folders = sorted(_TOR_FOLDERS.glob("*/")) if _is_folder(_TOR_FOLDERS) else []
    if config.tor_control is not None:
        try:
            version, named = _ask_control(config.tor_control)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            words = (
                f"{config.tor_control}: {why or 'no answer'}. Is tor running, and may we reach it?"
            )
            is_only_way = not config.listen
            found = refused if is_only_way else advice
            findings.append(found("tor control", words))
        else:
            findings.append(_check_version("tor control", version, "answers"))
            folders += named
    return findings + _check_onion_keys(folders)


def _check_program() -> Finding:
    program = shutil.which("tor", path=_TOR_PLACES)
    if program is None:
        words = "there is no tor here: install it, unless it runs elsewhere with our socket"
        return advice("tor", words)
    try:
        said = subprocess.run(  # noqa: S603 - from the system's own folders
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return advice("tor", f"{program} does not say its version. Install tor again")
    return _check_version("tor", said.removeprefix("Tor version "), program)


def _check_version(name: str, said: str, what: str) -> Finding:
    match = re.match(r"(\d+)\.(\d+)\.(\d+)(?:\.(\d+))?", said)
    if match is None:
        return advice(name, f"{what}: a version that is none. Install tor again")
    if tuple(map(int, match.groups()[:3])) < _OLDEST_TOR:
        words = f"{what}: {match[0]} is not supported any more and lacks proof of work."
        return refused(name, f"{words} Install 0.4.8 or newer")
    return ok(name, f"{what}: {match[0]}")


def _ask_control(path: Path) -> tuple[str, list[Path]]:
    """Return what a tor says of its version and of its onions' folders.

    Source: control-spec.txt, 3.5 AUTHENTICATE, 3.9 GETINFO, 3.3 GETCONF, 3.21 PROTOCOLINFO.

    Raises:
        OSError: it can't be reached, or its cookie can't be read. ValueError: no such answer.
    """
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_ANSWER_S)
        control.connect(str(path))
        lines = control.makefile("r", encoding="utf-8", errors="replace")

        def ask(command: str) -> list[str]:
            control.sendall(command.encode() + b"\r\n")
            answer: list[str] = []
            while not answer or answer[-1][3:4] == "-":
                answer.append(lines.readline(_MANY_BYTES).rstrip("\r\n"))
            if not answer[-1].startswith("250 "):
                raise ValueError(f"tor refuses {command.partition(' ')[0]}")
            return answer

        said = "\n".join(ask("PROTOCOLINFO 1"))
        cookie = re.search(r'COOKIEFILE="([^"\\]+)"', said)
        proof = "" if cookie is None else " " + Path(cookie[1]).read_bytes().hex()
        ask("AUTHENTICATE" + proof)
        version = ask("GETINFO version")[0].partition("=")[2]
        folders = [line[4:].partition("=")[2] for line in ask("GETCONF HiddenServiceDir")]
        ask("QUIT")
    return version, [Path(folder) for folder in folders if folder]


def _check_onion_keys(folders: list[Path]) -> list[Finding]:
    """Look at the folders that hold the onions' secret keys, as far as we may."""
    findings = []
    for folder in dict.fromkeys(folders):
        for path in (folder, folder / "hs_ed25519_secret_key"):
            try:
                is_open = bool(path.stat().st_mode & 0o077)
            except OSError:
                continue  # not ours to read, as it should be
            if is_open:
                words = f"{path}: others can read the onion's key. Run: chmod go-rwx {path}"
                findings.append(refused("onion keys", words))
    return findings


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
