"""The pages that list: overview, contents, search, bundles, coverage, missing, disk, activity."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from isthmus.serve.console import listing, state
from isthmus.serve.console.coverage import Coverage, coverage
from isthmus.serve.console.gate import LoginNeededError, Viewer
from isthmus.serve.console.holdings import Snapshot
from isthmus.serve.console.parts import Parts
from isthmus.serve.console.state import Bundles, Missing
from isthmus.serve.pushes import read_pushes

_FORGET_SECONDS = 2.0  # for which what was missed is not looked for again


class Pages:
    """Answers requests of viewers. Raises what the store raises."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._covered: tuple[Snapshot | None, Coverage | None] = (None, None)
        self._forgot = 0.0

    async def overview(self, _request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """What the site holds, at a glance."""
        snapshot = await self._parts.holdings.current()
        bundles = await asyncio.to_thread(state.find_bundles, self._parts.catalogue.store)
        rows = listing.visible(snapshot, viewer)
        found = state.perishables(rows, time.time())
        lacking = await self._missing(viewer)
        return self._page(
            "overview.html",
            viewer,
            "overview",
            {
                "snapshot": snapshot,
                "rows": len(rows),
                "kinds": listing.by_kind(rows),
                "hosts": listing.by_host(snapshot, rows, viewer),
                "perishables": found[:8],
                "stale": sum(one.state == "stale" for one in found),
                "perishable_count": len(found),
                "bundles": bundles.received[:4],
                "bundle_count": len(bundles.received),
                "missing": lacking[:5],
                "missing_count": len(lacking),
                "coverage": await self._coverage(snapshot, viewer),
                "disk": await self._parts.disk.current(),
                "jobs": self._jobs(viewer, bundles),
            },
        )

    async def contents(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """By upstream host, or by component of the platform."""
        snapshot = await self._parts.holdings.current()
        rows = listing.visible(snapshot, viewer)
        by = "component" if request.query.get("by") == "component" else "host"
        make = listing.by_component if by == "component" else listing.by_host
        groups = await asyncio.to_thread(make, snapshot, rows, viewer)
        page = listing.page_of(groups, request.query.get("page", ""), request.path, {"by": by})
        values = {"snapshot": snapshot, "by": by, "page": page, "rows": len(rows)}
        return self._page("contents.html", viewer, "contents", values)

    async def search(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """A list narrowed by words, kind, host, component; only its results for htmx."""
        snapshot = await self._parts.holdings.current()
        wanted = listing.parse_filter(request.query)
        rows = listing.visible(snapshot, viewer)
        found = await asyncio.to_thread(listing.narrowed, rows, wanted)
        page = listing.page_of(found, request.query.get("page", ""), request.path, wanted.query)
        is_part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
        values = {
            "snapshot": snapshot,
            "filter": wanted,
            "page": page,
            "kinds": [group.name for group in listing.by_kind(rows)],
            "hosts": sorted({row.host for row in rows}),
            "components": sorted({name for row in rows for name in row.components}) if snapshot.lock else [],
            "query": wanted.text,
        }
        return self._page("results.html" if is_part else "search.html", viewer, "search", values)

    async def bundles(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Bundles that came in, and who signed them."""
        found = await asyncio.to_thread(state.find_bundles, self._parts.catalogue.store)
        page = listing.page_of(found.received, request.query.get("page", ""), request.path)
        values = {"page": page, "waiting": self._jobs(viewer, Bundles((), found.waiting))}
        return self._page("bundles.html", viewer, "bundles", values)

    async def coverage(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The lock against what is held."""
        snapshot = await self._parts.holdings.current()
        found = await self._coverage(snapshot, viewer)
        only = request.query.get("only", "")
        entries = [one for one in found.entries if one.state != "held" or only != "lacking"] if found else []
        page = listing.page_of(entries, request.query.get("page", ""), request.path, {"only": only})
        values = {"snapshot": snapshot, "coverage": found, "page": page, "only": only}
        return self._page("coverage.html", viewer, "coverage", values)

    async def missing(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """What was asked for and is not there; its names are for users, where there are any."""
        if not viewer.sees_requests:
            raise LoginNeededError
        found = await self._missing(viewer)
        page = listing.page_of(found, request.query.get("page", ""), request.path)
        snapshot = await self._parts.holdings.current()
        locked = {entry.stored_name for entry in snapshot.lock.references} if snapshot.lock else None
        return self._page("missing.html", viewer, "missing", {"page": page, "locked": locked})

    async def disk(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Disk use, and what is largest."""
        snapshot = await self._parts.holdings.current()
        rows = sorted(listing.visible(snapshot, viewer), key=lambda row: (-(row.size or 0), row.name))
        values = {
            "snapshot": snapshot,
            "disk": await self._parts.disk.current(),
            "page": listing.page_of(rows, request.query.get("page", ""), request.path),
            "hosts": listing.by_host(snapshot, rows, viewer)[:12],
        }
        return self._page("disk.html", viewer, "disk", values)

    async def activity(self, _request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """What is under way."""
        return self._page("activity.html", viewer, "activity", {"jobs": await self._under_way(viewer)})

    async def activity_now(self, _request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The same, only the list, for htmx to put into the page every few seconds."""
        return self._page("jobs.html", viewer, "activity", {"jobs": await self._under_way(viewer)})

    async def _coverage(self, snapshot: Snapshot, viewer: Viewer) -> Coverage | None:
        """Remembered for the snapshot where nothing has to be left out."""
        if not viewer.sees_all:
            return await asyncio.to_thread(coverage, snapshot, viewer)
        known, found = self._covered
        if known is not snapshot:
            found = await asyncio.to_thread(coverage, snapshot, viewer)
            self._covered = (snapshot, found)
        return found

    async def _under_way(self, viewer: Viewer) -> list[state.Job]:
        bundles = await asyncio.to_thread(state.find_bundles, self._parts.catalogue.store)
        return self._jobs(viewer, bundles)

    def _jobs(self, viewer: Viewer, bundles: Bundles) -> list[state.Job]:
        mine = self._parts.pushes.under_way() if self._parts.pushes else ()
        others = read_pushes(self._parts.share.others("pushes"))
        return state.jobs((*mine, *others), bundles, viewer)

    async def _missing(self, viewer: Viewer) -> list[Missing]:
        if time.monotonic() - self._forgot > _FORGET_SECONDS:
            await self._parts.misses.forget_found(self._parts.catalogue)
            self._forgot = time.monotonic()
        return state.missing(self._parts.misses, viewer)

    def _page(self, template: str, viewer: Viewer, section: str, values: Mapping[str, Any]) -> web.StreamResponse:
        return show(self._parts, template, viewer, section, values)


def show(
    parts: Parts, template: str, viewer: Viewer, section: str, values: Mapping[str, Any]
) -> web.StreamResponse:
    """A page with what the layout needs."""
    token = parts.gate.sessions.form_token(viewer.session.key) if viewer.session else ""
    return parts.renderer.page(template, {"viewer": viewer, "section": section, "logout_token": token, **values})
