"""What happens around every request: errors become answers, the audit log and the counters are kept.

Not here: what is asked for.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableSet
from typing import Any

from aiohttp import web

from isthmus.errors import IsthmusError
from isthmus.serve.access import CALLER
from isthmus.serve.answers import RefusedError, error_answer
from isthmus.serve.audit import Audit
from isthmus.serve.metrics import Metrics
from isthmus.serve.noted import ATTEMPT, CLAIMED
from isthmus.serve.target import TARGET

_log = logging.getLogger("isthmus.serve")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def observing(metrics: Metrics, audit: Audit | None, silent: MutableSet[Any]) -> Any:
    """The middleware. `silent` holds connections that have not asked for anything yet."""

    @web.middleware
    async def middleware(request: web.Request, handler: _Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        started = time.monotonic()
        response: web.StreamResponse | None = None
        code = ""
        metrics.in_progress += 1
        try:
            response, code = await _answered(request, handler)
            return response
        finally:
            metrics.in_progress -= 1
            seconds = time.monotonic() - started
            metrics.count(request, response, seconds)
            was_refused = CLAIMED in request and CALLER not in request
            if audit is not None and (TARGET in request or ATTEMPT in request or was_refused):
                audit.write(request, response.status if response is not None else 499, code, seconds)

    return middleware


async def _answered(request: web.Request, handler: _Handler) -> tuple[web.StreamResponse, str]:
    """The answer and its error code; refusals and failures get the error bodies of the specification."""
    try:
        return await handler(request), ""
    except RefusedError as refusal:
        return error_answer(refusal), refusal.code
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return error_answer(RefusedError(error.status, "UNSUPPORTED", error.reason, headers)), "UNSUPPORTED"
    except IsthmusError as error:
        _log.error("%s %s: %s", request.method, request.path, error)
        # What failed is for the log; paths of this machine are not for whoever asks.
        return error_answer(RefusedError(500, "UNKNOWN", f"the store cannot be read ({error.code})")), "UNKNOWN"
