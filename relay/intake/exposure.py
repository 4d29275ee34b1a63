"""What would show secrets to others: with any of it, nothing is served.

Apart from the rest of the check, so that a service loads no decoder for it.
"""

import ipaddress

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.finding import Finding, refused
from relay.intake.places import find_exposed


def require_private(config: ServerConfig) -> None:
    """Return where serving shows no secret to others.

    Raises:
        ConfigInvalid: it would; with everything that is in the way.
    """
    exposed = [*find_exposed(config), *find_open_listeners(config)]
    if exposed:
        raise ConfigInvalid("; ".join(finding.words for finding in exposed))


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


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
