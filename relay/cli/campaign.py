"""Lay out a campaign's folder: configuration, keys, and for a demo a whole staff of one."""

import json
import secrets
import shutil
from importlib import resources
from pathlib import Path

from relay import memory
from relay.cli.keys import make_keys
from relay.config import check_campaign
from relay.errors import ConfigInvalid
from relay.receipt import ServiceKeys
from relay.scrub.wire import Layer
from relay.seal.files import IDENTITY_NAME, SIGNER_NAME, KeptIdentity, write_secret
from relay.seal.lists import Role
from relay.seal.signing import Signer

CONFIG_NAME = "relay.toml"
DESK_NAME = "desk.toml"
PUBLIC_NAME = "campaign.toml"
# A demo's passphrase is random and lies beside the keys: stretching it would only cost time.
_DEMO_LOG_N = 10

_CONFIG = """\
# Every setting and its default: docs/operator.md.
campaign = "{campaign}"
listen = "{listen}"
{more}"""
_MORE = """\
# Who signs recipients.txt: relay keys sign. Without it, whoever can write that file can add a key.
# campaign_signer = "relaysigner1…"
# What the campaign says in public: posters, event. Fill that file in first.
# campaign_file = "{public}"
"""
_DEMO = """\
# A demo: one person, pulled on the day itself, the desk's API on the form's listener.
demo = true
same_day_pull = true
max_queued = 5000
campaign_file = "{public}"
# A demo runs on any machine; what the machine lacks is said when it starts.
accept_missing = {accepted}
"""
_DESK = """\
relay = "http://{listen}"
signer = "{signer}"
identity = "{identity}"
passphrase_file = "passphrase"
same_day_post = true
accept_missing = {accepted}
"""
_DESK_PUBLIC = f'campaign_file = "{PUBLIC_NAME}"\n'
_WALLS = [layer.word for layer in Layer]
_RECIPIENTS = "# One recipient a line (age1pq1…), as printed by: relay keys generate\n"
_STAFF = (
    "# One signer a line (relaysigner1…), as printed by: relay keys generate\n"
    "# and what she may do: pull release administer\n"
)


def make_campaign(folder: Path, *, campaign: str, listen: str, is_demo: bool) -> None:
    """Make `folder` whole or not at all.

    Raises:
        ConfigInvalid: there is something in it, or the name will not do.
    """
    check_campaign(campaign)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigInvalid(f"{folder} is not empty")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f".{folder.name}.new"
    shutil.rmtree(draft, ignore_errors=True)  # what a start that was killed left
    try:
        draft.mkdir(mode=0o700)
        write_secret(draft / "service.key", ServiceKeys.generate())
        recipients, staff = _RECIPIENTS, _STAFF
        more = _MORE.format(public=PUBLIC_NAME)
        config = _CONFIG.format(campaign=campaign, listen=listen, more="" if is_demo else more)
        public = _read_example("demo" if is_demo else "example")
        (draft / PUBLIC_NAME).write_text(public, "utf-8")
        (draft / PUBLIC_NAME).chmod(0o644)
        if is_demo:
            accepted = json.dumps([*_WALLS, memory.NAME])
            config += _DEMO.format(public=PUBLIC_NAME, accepted=accepted)
            kept, signer = _make_demo_desk(draft, listen)
            recipients += f"{kept}\n"
            staff += f"{signer.encoded} {' '.join(Role)}\n"
        for name, text in (
            ("recipients.txt", recipients),
            ("staff.txt", staff),
            (CONFIG_NAME, config),
        ):
            (draft / name).write_text(text, "utf-8")
            (draft / name).chmod(0o644)
        draft.rename(folder)
    except OSError as error:
        raise ConfigInvalid(f"{folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _read_example(name: str) -> str:
    """Return a campaign.toml of ours, for a demo or for a new campaign to fill in."""
    return resources.files("relay.cli").joinpath(f"{name}-{PUBLIC_NAME}").read_text("utf-8")


def _make_demo_desk(folder: Path, listen: str) -> tuple[KeptIdentity, Signer]:
    passphrase = secrets.token_urlsafe(16)
    write_secret(folder / "passphrase", passphrase.encode() + b"\n")
    write_desk(folder, listen)
    return make_keys(folder, passphrase, log_n=_DEMO_LOG_N)


def write_desk(folder: Path, listen: str) -> None:
    """Write the demo's desk.toml for a relay at `listen`, where it says something else."""
    path = folder / DESK_NAME
    if path.is_file() and f'relay = "http://{listen}"\n' in path.read_text("utf-8"):
        return
    text = _DESK.format(
        listen=listen, signer=SIGNER_NAME, identity=IDENTITY_NAME, accepted=json.dumps(_WALLS)
    )
    if (folder / PUBLIC_NAME).is_file():  # a demo of an older release has none
        text += _DESK_PUBLIC
    draft = path.with_suffix(".new")
    draft.write_text(text, "utf-8")
    draft.replace(path)
