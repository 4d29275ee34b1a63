"""Whether the service key and the two lists can be used, and are enough."""

import datetime as dt

from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NoRecipient
from relay.intake.finding import Finding, advice, ok, refused
from relay.intake.recipients import load_today
from relay.receipt import ServiceKeys
from relay.seal.lists import load_staff

_USABLE = "can be used"
_UNSIGNED = (
    "nobody signs the list of recipients: whoever can write it can add a key of their own. Have it "
    "signed (keys/README.md), then set campaign_signer"
)


def check_key_files(config: ServerConfig, *, today: dt.date) -> list[Finding]:
    """Load each as the service does."""
    return [_check_service_key(config), _check_staff(config), *_check_recipients(config, today)]


def _check_service_key(config: ServerConfig) -> Finding:
    try:
        ServiceKeys.load(config.service_key)
    except ConfigInvalid as error:
        return refused("service key", error.message, blocks=True)
    return ok("service key", _USABLE)


def _check_staff(config: ServerConfig) -> Finding:
    try:
        staff = load_staff(config.staff)
    except ConfigInvalid as error:
        return refused("staff", error.message, blocks=True)
    if not staff:
        words = f"{config.staff}: nobody in it, so nobody can fetch what is sent."
        return advice("staff", f"{words} Add a line for each colleague (keys/README.md)")
    return ok("staff", _USABLE)


def _check_recipients(config: ServerConfig, today: dt.date) -> list[Finding]:
    unsigned = [] if config.campaign_signer or config.demo else [refused("signature", _UNSIGNED)]
    try:
        found = load_today(config, today)
    except NoRecipient as error:  # a new campaign
        words = f"{error.message}: the form is closed."
        return [advice("recipients", f"{words} Add a line for each colleague (keys/README.md)")]
    except ConfigInvalid as error:
        return [refused("recipients", error.message), *unsigned]
    ended = found.listed.ended(today)
    if found.warning is not None:
        said = advice("recipients", found.warning)
    elif len(found.recipients) == 1 and not config.demo:
        words = f"{config.recipients}: two at least: a lost laptop would lose every photo"
        said = advice("recipients", words)
    elif ended:
        lines = ", ".join(f"line {entry.line} ended on {entry.period.last}" for entry in ended)
        said = ok("recipients", f"{_USABLE}; no longer sealed to: {lines}")
    else:
        said = ok("recipients", _USABLE)
    return [said, *unsigned]
