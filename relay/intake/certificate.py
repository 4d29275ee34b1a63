"""Whether browsers will take the certificate, and whether the service can read its key."""

import datetime as dt
import os
import ssl
from pathlib import Path

from cryptography import x509

from relay.config import ServerConfig
from relay.intake.accounts import can_read, find_account, name_account
from relay.intake.finding import Finding, advice, ok, refused

_FEW_DAYS = 14
_COPIES = {"tls_certificate": ("644", "tls.crt"), "tls_key": ("600", "tls.key")}
_TURNS = 4  # of each side, until a greeting in TLS is done


def check_certificate(config: ServerConfig, *, now: dt.datetime) -> Finding:
    """Look whether browsers will take the certificate, and for how long."""
    chain, key = config.tls_certificate, config.tls_key
    if chain is None or key is None:
        return ok("certificate", "none: no TLS here")
    return (
        _check_readable("tls_certificate", chain, config)
        or _check_readable("tls_key", key, config)
        or _check_pair(chain, key, config, now)
    )


def _check_readable(setting: str, path: Path, config: ServerConfig) -> Finding | None:
    """Return what is wrong where the service can't read it: an ACME client's keys are root's."""
    try:
        path.stat()
    except FileNotFoundError:
        return refused("certificate", f"{path}: not there. Get it again", blocks=True)
    except OSError:
        pass  # a folder above is closed to us
    account = find_account(config)
    if can_read(path, account):
        return None
    owner = "poster-relay" if account is None else name_account(account)
    if account is not None and os.geteuid() not in {0, account}:
        words = f"{path}: not readable for this account. Run the check as root, or as {owner}"
        return advice("certificate", words)
    mode, name = _COPIES[setting]
    copy = config.folder.absolute() / name
    words = (
        f"{path}: the relay's account, {owner}, can't read it. As root give it a copy, name that "
        f"in {setting}, and have your ACME client renew the copy too (docs/operator.md). "
    )
    if path.absolute() == copy:
        return refused("certificate", f"{words}Run: chown {owner} {copy}", blocks=True)
    words += f"Run: install -m {mode} -o {owner} {path} {copy}"
    return refused("certificate", words, blocks=True)


def _check_pair(chain: Path, key: Path, config: ServerConfig, now: dt.datetime) -> Finding:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(chain, key, password="")
        certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    except OSError:  # of ssl too
        words = f"{chain} and {key} don't belong together, or are no PEM, or have a password."
        return refused("certificate", f"{words} Get both again", blocks=True)
    except (ValueError, IndexError):
        words = f"{chain}: not a certificate in PEM. Get it again"
        return refused("certificate", words, blocks=True)
    return _check_dates_and_name(certificate, config, now) or _check_trust(server, certificate, now)


def _check_dates_and_name(
    certificate: x509.Certificate, config: ServerConfig, now: dt.datetime
) -> Finding | None:
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
    return None


def _check_trust(
    server: ssl.SSLContext, certificate: x509.Certificate, now: dt.datetime
) -> Finding:
    distrust = _greet(server)
    if distrust is not None:
        words = (
            f"a browser would warn of it ({distrust}). Put the whole chain into tls_certificate,"
        )
        return advice("certificate", f"{words} of an authority that browsers know (Let's Encrypt)")
    days = (certificate.not_valid_after_utc - now).days
    if days < _FEW_DAYS:
        return advice("certificate", f"runs out in {days} days. Renew it")
    return ok("certificate", f"good for {days} days, by an authority that this system knows")


def _greet(server: ssl.SSLContext) -> str | None:
    """Greet in memory, as a browser would; return why that failed."""
    browser = ssl.create_default_context()
    browser.check_hostname = False  # looked at already, with words of its own
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (browser.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for side in sides * _TURNS:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return error.reason
    return None


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
