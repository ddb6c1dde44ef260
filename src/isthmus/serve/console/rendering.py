"""Makes pages: templates, how numbers and times are written, static files, and the headers of every answer.

Everything in a template is escaped; nothing inline is allowed by the policy that goes with each answer. Not
here: what a page says (the views).
"""

import gzip
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web

_HERE = Path(__file__).parent
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Cookie, Authorization",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """A static file; `version` changes with its bytes."""

    data: bytes
    packed: bytes
    media_type: str
    version: str


class Renderer:
    """Templates and static files, read once."""

    def __init__(self) -> None:
        self.assets = {path.name: _asset(path) for path in sorted((_HERE / "static").iterdir()) if path.is_file()}
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(
            size=human_size, when=human_time, age=human_age, clock=clock, path=reference_path, count="{:,}".format
        )
        self._templates.globals["asset"] = self._asset_url

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """An HTML answer; `viewer` and `section` of the layout are nothing unless they are given."""
        whole = {"viewer": None, "section": "", "logout_token": "", "query": "", **values}
        text = self._templates.get_template(template).render(whole)
        return web.Response(
            body=text.encode("utf-8", "replace"),
            status=status,
            headers={**HEADERS, "Content-Type": "text/html; charset=utf-8", **(headers or {})},
        )

    def static(self, request: web.Request) -> web.Response:
        """A static file, for ever where its version is asked for. Raises HTTPNotFound."""
        asset = self.assets.get(request.match_info["file"])
        if asset is None:
            raise web.HTTPNotFound
        is_pinned = request.query.get("v") == asset.version
        headers = {
            **HEADERS,
            "Content-Type": asset.media_type,
            "ETag": f'"{asset.version}"',
            "Cache-Control": "public, max-age=31536000, immutable" if is_pinned else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        if asset.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=asset.packed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=asset.data, headers=headers)

    def _asset_url(self, name: str) -> str:
        return f"/console/static/{name}?v={self.assets[name].version}"


def _asset(path: Path) -> Asset:
    data = path.read_bytes()
    packed = gzip.compress(data, mtime=0)
    return Asset(
        data,
        packed if len(packed) < len(data) else b"",
        _TYPES.get(path.suffix, "application/octet-stream"),
        hashlib.sha256(data).hexdigest()[:16],
    )


def human_size(count: int | None) -> str:
    """Bytes as people read them, in powers of 1024 (the unit says so)."""
    if count is None:
        return "…"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{int(value)} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def clock(seconds: float) -> str:
    """A machine's time for the attribute of `<time>`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def human_time(seconds: float) -> str:
    """A point in time, in UTC, which is what the logs have."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def human_age(seconds: float, *, now: float | None = None) -> str:
    """How long ago that was."""
    return human_span((time.time() if now is None else now) - seconds)


def human_span(span: float) -> str:
    """A length of time in its two largest units at most."""
    minutes = int(max(span, 0) // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if minutes < 1:
        return "less than a minute"
    if days >= 60:
        return f"{days} days"
    if days:
        return f"{days} d {hours} h" if hours else _plural(days, "day")
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else _plural(hours, "hour")
    return _plural(minutes, "minute")


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def reference_path(name: str) -> str:
    """Where the page of a reference is."""
    return f"/console/reference/{quote(name, safe='/:@')}"
