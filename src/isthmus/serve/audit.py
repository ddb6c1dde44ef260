"""The audit log: a JSON line for every request that concerns content or is a login, with who, what and result.

Written before the answer's last byte could be; opened again when the file was moved away. Secrets and tokens
are never in it. Not here: what is counted (`metrics`).
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from aiohttp import web

from isthmus.errors import UnreachableError
from isthmus.serve.access import CALLER, Caller
from isthmus.serve.noted import ATTEMPT, CLAIMED, Attempt
from isthmus.serve.target import TARGET, Target

_ACTIONS = {"GET": "pull", "HEAD": "look", "POST": "push", "PATCH": "push", "PUT": "push", "DELETE": "delete"}


class Audit:
    """An append-only file. Raises UnreachableError `io-failed` where it cannot be opened or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.reopen()

    def reopen(self) -> None:
        """Open the file under its name, where that is another one now."""
        try:
            if self._descriptor >= 0:
                opened = os.fstat(self._descriptor)
                try:
                    named = os.stat(self._path)
                except FileNotFoundError:
                    named = None
                if named is not None and (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino):
                    return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._failed(error) from error
        self.close()
        self._descriptor = descriptor

    def write(self, request: web.Request, status: int, code: str, seconds: float) -> None:
        """Note a request and how it ended. Raises `io-failed`: what cannot be noted is not done quietly."""
        target: Target | None = request.get(TARGET)
        caller: Caller | None = request.get(CALLER)
        attempt: Attempt | None = request.get(ATTEMPT)
        user = caller.name if caller else attempt.user if attempt else ""
        claimed = request.get(CLAIMED, "") or (attempt.claimed if attempt else "")
        action = attempt.action if attempt else "" if target is not None else "login"
        self.note(
            request.method,
            target,
            request.remote or "",
            user,
            status,
            (attempt.code if attempt else "") or code,
            seconds,
            request.query.get("digest", "")[:140],
            action,
            "" if user else claimed,
        )

    def note(
        self,
        method: str,
        target: Target | None,
        remote: str,
        user: str,
        status: int,
        code: str = "",
        seconds: float = 0.0,
        digest: str = "",
        action: str = "",
        claimed: str = "",
    ) -> None:
        """Note one by what is noted of it; `digest` is that of a query; `action`: not the method's. As `write`.

        `claimed` is a name in credentials that did not hold: it says who somebody wanted to be.
        """
        line = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "from": remote,
            "user": user,
            "claimed": claimed,
            "method": method,
            "action": action or _ACTIONS.get(method, "other"),
            "kind": target.kind if target else "",
            "name": target.name if target else "",
            "tag": target.tag if target else "",
            "digest": (target.digest if target else None) or digest,
            "status": status,
            "result": "done" if status < 400 else code or "failed",
            "seconds": round(seconds, 4),
        }
        data = (
            msgspec.json.encode({key: value for key, value in line.items() if value != ""}, enc_hook=str) + b"\n"
        )
        try:
            os.write(self._descriptor, data)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> UnreachableError:
        return UnreachableError("io-failed", f"the audit log: {error.strerror}", where=str(self._path))

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
