"""What would show secrets to others: with any of it, nothing is served.

Apart from the rest of the check, so that a service loads no decoder for it.
"""

import ipaddress
from pathlib import Path

from relay.config import LISTENERS, Endpoint, ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.finding import Finding, ok, refused
from relay.intake.places import find_exposed


def require_private(config: ServerConfig) -> None:
    """Return where serving shows no secret to others.

    Raises:
        ConfigInvalid: it would; with everything that is in the way.
    """
    exposed = [*find_exposed(config), *find_open_listeners(config)]
    if exposed:
        raise ConfigInvalid("; ".join(finding.words for finding in exposed))


def check_listeners(config: ServerConfig) -> list[Finding]:
    """Say of each listener whom it is open to; nobody on the way may read along."""
    served = [name for name in LISTENERS if not (name == "desk_listen" and config.demo)]
    return [
        _check_listener(name, endpoint, config)
        for name in served
        if (endpoint := config.endpoint(name)) is not None
    ]


def find_open_listeners(config: ServerConfig) -> list[Finding]:
    """Return the listeners that others than this machine reach, and should not."""
    return [finding for finding in check_listeners(config) if finding.blocks]


def _check_listener(name: str, endpoint: Endpoint, config: ServerConfig) -> Finding:
    what = f"{name} = {getattr(config, name)!r} is open to"
    if isinstance(endpoint, Path):
        return ok("listeners", f"{what} its owner and group on this machine")
    if isinstance(endpoint, tuple) and _is_loopback(endpoint[0]):
        return ok("listeners", f"{what} this machine alone")
    if config.demo:
        mend = "Listen on 127.0.0.1, or set demo = false"
        return _open(f"{what} the network, and demo = true serves the desk there. {mend}")
    if name != "listen":
        mend = "Listen on 127.0.0.1 or unix:, and let tor bring staff"
        return _open(f"{what} the network, without TLS. {mend}")
    if config.tls_key is None:
        mend = "Set tls_certificate and tls_key, or listen on 127.0.0.1 or unix:"
        return _open(f"{what} the network, without TLS. {mend}")
    return ok("listeners", f"{what} the network, over TLS")


def _open(words: str) -> Finding:
    return refused("listeners", words, blocks=True)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
