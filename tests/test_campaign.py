"""campaign.toml is read whole, or refused with the setting's name."""

import re
from pathlib import Path

import pytest

from relay.campaign import PublicTexts
from relay.errors import ConfigInvalid
from tests.conftest import ROOT

DOCUMENTED = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/campaign.md").read_text(), re.DOTALL)


def load(folder: Path, text: str) -> PublicTexts:
    path = folder / "campaign.toml"
    path.write_text(text)
    return PublicTexts.load(path)


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    texts = load(tmp_path, DOCUMENTED[0])
    assert texts.handle("mastodon") == "@campaign@social.example.org"
    assert texts.handle("x") == "@campaign"
    assert texts.texts("en").poster["write-in"].splitlines()[1] == "____"
    assert texts.texts("fr").poster == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('hashtg = "#x"', "hashtg"),
        ('event = "two\\nlines"', "event"),
        ('stream = "javascript:alert(1)"', "stream"),
        ("answers = 5", "answers"),
        ("[handles]\nmyspace = '@x'", "handles.myspace"),
        ("[en.poster]\nhandwritten = 'x'", "en.poster.handwritten"),
        ("[en.poster]\ngeneral = ' '", "en.poster.general"),
        ("[en.posters]\ngeneral = 'x'", "en.posters"),
        ("[en.caption]\ndefault = '{receipt}'", "en.caption.default"),
        ("[en.caption]\ndefault = '{message!r}'", "en.caption.default"),
        ("[en.caption]\ndefault = '{message.__class__}'", "en.caption.default"),
        ("[en.caption]\ndefault = '{message'", "en.caption.default"),
        ("en = 3", "'en'"),
        ("[", "campaign.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text)
    assert named in caught.value.message
