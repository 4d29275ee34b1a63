"""Whether the service key and the two lists can be used, and are enough."""

from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NoRecipient
from relay.intake.finding import Finding, advice, ok, refused
from relay.receipt import ServiceKeys
from relay.seal.files import check_primitives, load_recipients, load_staff

_USABLE = "can be used"


def check_key_files(config: ServerConfig) -> list[Finding]:
    """Load each as the service does."""
    return [_check_service_key(config), _check_staff(config), _check_recipients(config)]


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


def _check_recipients(config: ServerConfig) -> Finding:
    try:
        check_primitives()
        recipients = load_recipients(
            config.recipients, slots=config.recipient_slots, allow_classic=config.allow_classic
        )
    except NoRecipient as error:  # a new campaign
        words = f"{error.message}: the form is closed."
        return advice("recipients", f"{words} Add a line for each colleague (keys/README.md)")
    except ConfigInvalid as error:
        return refused("recipients", error.message)
    if len(recipients) == 1 and not config.demo:
        words = f"{config.recipients}: two at least: a lost laptop would lose every photo"
        return advice("recipients", words)
    return ok("recipients", _USABLE)
