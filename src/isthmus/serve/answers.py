"""Answers of a registry that are not content: error bodies (distribution-spec 1.1, "Error Codes") and JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

_encoder = msgspec.json.Encoder(order="deterministic", enc_hook=str)  # for Digest, a subclass of str


class RefusedError(Exception):
    """A request that is answered with an error. Becomes a response before it leaves this room."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def error_answer(refusal: RefusedError) -> web.Response:
    """The response for a refusal."""
    document = {"errors": [{"code": refusal.code, "message": refusal.message, "detail": None}]}
    return json_answer(document, status=refusal.status, headers=refusal.headers)


def json_answer(
    document: Any,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A JSON document, the same bytes for the same content."""
    body = _encoder.encode(document)
    return web.Response(status=status, body=body, content_type=content_type, headers=headers)
