"""Posters: a page with their words, and each as a PDF."""

from dataclasses import dataclass

from aiohttp import web

from relay.errors import PageMissing
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
