"""Fixtures: each network, and a post to put there."""

import datetime as dt
import io
import itertools
from collections.abc import Callable, Iterator

import pytest

from relay.desk.networks import Picture, Post
from tests import networks, photos
from tests.desk.networks.mastodon_server import MastodonServer
from tests.desk.networks.small_servers import FacebookServer, XServer

_SIZE = (320, 240)
_numbers = itertools.count(1)
MakePost = Callable[..., Post]


@pytest.fixture
def make_post() -> MakePost:
    """Return a post that no other test has, planned for now."""

    def make(
        text: str = "Say it to them. #FreedomToPublish", created: dt.datetime | None = None
    ) -> Post:
        number = next(_numbers)
        jpeg = io.BytesIO()
        photos.picture(*_SIZE, seed=number).save(jpeg, "JPEG", quality=80)
        return Post(
            text=text,
            language="en",
            picture=Picture(jpeg=jpeg.getvalue(), alt=f"A poster ({number}).", size=_SIZE),
            created=created or dt.datetime.now(dt.UTC),
        )

    return make


@pytest.fixture(scope="session")
def pds() -> Iterator[networks.Pds]:
    with networks.pds() as here:
        yield here


@pytest.fixture
def mastodon() -> Iterator[MastodonServer]:
    with networks.mastodon() as here:
        yield here


@pytest.fixture
def facebook() -> Iterator[FacebookServer]:
    with networks.facebook() as here:
        yield here


@pytest.fixture
def x() -> Iterator[XServer]:
    with networks.x() as here:
        yield here
