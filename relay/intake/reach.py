"""Where the relay can be reached, and what protects the way: addresses, certificate, tor."""

import datetime as dt
import ipaddress
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

from cryptography import x509

from relay.config import ServerConfig
from relay.intake.finding import Finding, advice, ok, refused

_OLDEST_TOR = (0, 4, 8)  # the first with proof of work for onion services
_TOR_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
_TOR_FOLDERS = Path("/var/lib/poster-relay-tor")  # of the installed relay
_ANSWER_S = 5.0
_FEW_DAYS = 14
_MANY_BYTES = 1 << 16


def find_open_listeners(config: ServerConfig) -> list[Finding]:
    """Return the listeners that others than this machine reach without TLS."""
    findings = []
    for name in ("listen", "desk_listen"):
        if name == "desk_listen" and config.demo:
            continue
        endpoint = config.endpoint(name)
        if not isinstance(endpoint, tuple) or _is_loopback(endpoint[0]):
            continue
        if name == "listen" and config.tls_key is not None:
            continue
        mend = (
            "Set tls_certificate and tls_key, or listen on 127.0.0.1 or unix:"
            if name == "listen"
            else "Listen on 127.0.0.1 or unix:, and let tor bring staff"
        )
        words = f"{name} = {getattr(config, name)!r} is open to the network, without TLS. {mend}"
        findings.append(refused("listeners", words, blocks=True))
    return findings


def check_listeners(config: ServerConfig) -> list[Finding]:
    """Look whether anybody on the way could read along."""
    words = "on this machine alone, or over TLS"
    return find_open_listeners(config) or [ok("listeners", words)]


def check_certificate(config: ServerConfig, *, now: dt.datetime) -> Finding:
    """Look whether browsers will take the certificate, and for how long."""
    chain, key = config.tls_certificate, config.tls_key
    if chain is None or key is None:
        return ok("certificate", "none: no TLS here")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")
        certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except OSError as error:  # of ssl too
        if isinstance(error, PermissionError):
            words = f"{error.filename or key}: not readable for this account. Run the check as root"
            return advice("certificate", words)
        words = f"{chain} and {key} don't belong together, or are no PEM. Get both again"
        return refused("certificate", words, blocks=True)
    except (ValueError, IndexError):
        words = f"{chain}: not a certificate in PEM. Get it again"
        return refused("certificate", words, blocks=True)
    return _check_validity(certificate, config, now)


def _check_validity(
    certificate: x509.Certificate, config: ServerConfig, now: dt.datetime
) -> Finding:
    path = config.tls_certificate
    if now < certificate.not_valid_before_utc:
        return refused("certificate", f"{path}: not valid yet. Is the clock right?")
    days = (certificate.not_valid_after_utc - now).days
    if days < 0:
        return refused("certificate", f"{path}: ran out {-days} days ago. Renew it")
    names = _names(certificate)
    if config.host and not any(_matches(name, config.host) for name in names):
        words = f"{path}: is for {', '.join(names) or 'no name'}, not for host = {config.host!r}"
        return refused("certificate", f"{words}. Get one for that name, or mend host")
    if days < _FEW_DAYS:
        return advice("certificate", f"{path}: runs out in {days} days. Renew it")
    return ok("certificate", f"good for {days} days")


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
            findings.append(advice("tor control", words))
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


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return known.value.get_values_for_type(x509.DNSName)


def _matches(name: str, host: str) -> bool:
    """Whether a certificate's name is that of the host. Source: RFC 9525, 6.3."""
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:].lower()
    return name.lower() == host
