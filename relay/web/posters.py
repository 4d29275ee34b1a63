"""Posters: a page with their words, and each as a PDF."""

from dataclasses import dataclass

from aiohttp import web

from relay.campaign import PublicTexts
from relay.config import ServerConfig
from relay.errors import ConfigInvalid, FontMissing, PageMissing
from relay.intake.finding import Finding, advice, ok, refused
from relay.posters.fonts import faces_for
from relay.posters.poster import Paper, kinds_in, poster_of
from relay.posters.press import Press
from relay.web.headers import dress
from relay.web.pages import POSTERS, Pages

# Shown in the browser, which keeps no file of it unless told to; the name tells nothing.
_DISPOSITION = 'inline; filename="poster.pdf"'


@dataclass(frozen=True, kw_only=True)
class PosterPages:
    """The handlers of what the campaign says in public."""

    pages: Pages
    press: Press

    def routes(self) -> list[web.RouteDef]:
        """Return their routes."""
        return [
            web.get("/{language}/poster", self.show),
            web.get("/poster/{language:[a-z]+}-{kind:[a-z-]+}.pdf", self.print),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show what the posters say, how to make one safely, and where the event is."""
        language = request.match_info["language"]
        if not self.pages.has_poster_page(language):
            raise PageMissing
        public = self.pages.public
        return self.pages.render(
            "poster.html",
            language=language,
            is_answer=False,
            public=public,
            printed=public.texts(language).poster,
            kinds={kind: POSTERS[kind] for kind in kinds_in(public, language)},
        )

    async def print(self, request: web.Request) -> web.Response:
        """Return a poster as PDF."""
        language, kind = request.match_info["language"], request.match_info["kind"]
        paper = request.query.get("paper", Paper.A4)
        if not self.pages.speaks(language) or kind not in kinds_in(self.pages.public, language):
            raise PageMissing
        if paper not in {*Paper}:
            raise PageMissing
        poster = poster_of(self.pages.public, language, kind, Paper(paper))
        response = web.Response(body=await self.press.print(poster), content_type="application/pdf")
        dress(response)
        response.headers["Content-Disposition"] = _DISPOSITION
        return response


def check_posters(config: ServerConfig) -> Finding:
    """Say whether the campaign's posters can be made here. Without them, all else is served."""
    if config.campaign_file is None:
        return ok("posters", "none: no campaign_file")
    try:
        public = PublicTexts.load(config.campaign_file)
    except ConfigInvalid as error:
        return refused("posters", error.message, blocks=True)
    posters = [
        poster_of(public, code, kind)
        for code in public.languages
        for kind in kinds_in(public, code)
    ]
    letters = "".join(poster.words + poster.hashtag for poster in posters)
    try:
        files = [face.file for face in faces_for(letters)]
    except FontMissing as error:
        return advice("posters", error.message)
    return ok("posters", f"all {len(posters)} can be made, with {len(files)} fonts")
