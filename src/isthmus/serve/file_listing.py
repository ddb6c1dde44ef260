"""How a directory of the file server is shown: to people, to machines, and as SHA256SUMS. Only forms."""

import html
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from aiohttp import web

from isthmus.serve.answers import json_answer
from isthmus.serve.tree import Item

_STYLE = (
    "body{font:1em/1.5 system-ui,sans-serif;margin:2em}td{padding:0 1.5em 0 0}td:nth-child(2){text-align:right}"
)


def listing(request: web.Request, parts: tuple[str, ...], items: Iterable[Item]) -> web.Response:
    """The directory as HTML, or as JSON where that is accepted."""
    items = sorted(items, key=lambda item: (not item.is_directory, item.name))
    if "application/json" in request.headers.get("Accept", ""):
        entries = [
            {"name": item.name, "directory": item.is_directory, "size": item.size, "changed": _time(item.changed)}
            for item in items
        ]
        return json_answer({"path": "/".join(parts), "entries": entries})
    title = html.escape("/" + "/".join(parts))
    rows = ['<tr><td><a href="../">..</a></td><td></td><td></td></tr>'] if parts else []
    for item in items:
        slash = "/" if item.is_directory else ""
        link = f'<a href="./{quote(item.name)}{slash}">{html.escape(item.name)}{slash}</a>'
        size = "" if item.is_directory else str(item.size)
        rows.append(f"<tr><td>{link}</td><td>{size}</td><td>{_time(item.changed)}</td></tr>")
    head = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    head += f"<style>{_STYLE}</style></head>"
    table = "<table><thead><tr><th>Name</th><th>Bytes</th><th>Changed</th></tr></thead><tbody>\n"
    body = f"{head}<body><h1>{title}</h1>\n{table}" + "\n".join(rows) + "\n</tbody></table></body></html>\n"
    return web.Response(body=body.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def sums(digests: Mapping[str, str]) -> bytes:
    """SHA256SUMS as sha256sum(1) reads it, from hexadecimal digests by name."""
    return "".join(sum_line(name, digests[name]) for name in sorted(digests)).encode()


def sum_line(name: str, digest: str) -> str:
    """One line of it."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


def _time(seconds: float) -> str:
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
