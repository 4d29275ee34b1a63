"""What a network serves is the scrubbed photo, byte for byte, and clean to judges of others."""

import dataclasses
from pathlib import Path

import pytest

from relay.desk.networks import Network, Picture
from relay.desk.networks.bluesky import BlueskyAccount
from relay.desk.networks.folder import Folder
from relay.desk.networks.mastodon import MastodonAccount
from relay.scrub.supervisor import Scrubber
from tests import photos
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.mastodon_server import TOKEN, MastodonServer
from tests.judge import judge
from tests.networks import Pds


@pytest.mark.parametrize("name", ["mastodon", "bluesky", "folder"])
async def test_what_is_served_is_the_scrubbed_photo(
    name: str, pds: Pds, mastodon: MastodonServer, make_post: MakePost, tmp_path: Path
) -> None:
    async with Scrubber(max_jpeg_bytes=512 * 1024) as scrubber:
        scrubbed = await scrubber.scrub(photos.dirty_jpeg())
    picture = Picture(jpeg=scrubbed.jpeg, alt="A poster.", size=(1600, 1200))
    post = dataclasses.replace(make_post(f"scrubbed, {name}"), picture=picture)
    networks: dict[str, Network] = {
        "mastodon": MastodonAccount(mastodon.url, TOKEN),
        "bluesky": BlueskyAccount(pds.url, pds.identifier, pds.password),
        "folder": Folder(tmp_path / "posts"),
    }
    network = networks[name]
    network.publish(post, "key-served", network.prepare(post, "key-served"))
    if name == "folder":
        served = (tmp_path / "posts/key-served.jpg").read_bytes()
    elif name == "bluesky":
        served = pds.picture([one["value"]["text"] for one in pds.posts()].index(post.text))
    else:
        served = mastodon.picture(0)
    assert served == scrubbed.jpeg
    path = tmp_path / "served.jpg"
    path.write_bytes(served)
    judge(path)
