"""`SdkRenderer`: the Helm library of the `isthmus[helm]` extra, in a child process with limits.

Not here: what the child does (`worker`) and when this renderer is chosen (`engine`).
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any

import msgspec

from isthmus.scan.helm import limited, worker
from isthmus.scan.helm.request import ChartRequest, RenderError, Template

MEMORY_LIMIT = 4 << 30
"""Bytes of address space; Go reserves far more than it uses, rendering needs some 100 MiB."""
PROCESSOR_LIMIT = 600
"""Seconds of processor time of one child, over all its charts."""
START_TIMEOUT = 60.0
CHART_TIMEOUT = 60.0
"""Seconds for one chart."""
MAX_ANSWER = 64 << 20
"""Bytes of one answer."""


def is_available() -> bool:
    """Whether the library is installed; does not load it."""
    return importlib.util.find_spec("helm_python") is not None


class SdkRenderer:
    """Renders charts in one child process, which is started when needed and again after a crash."""

    name = "helm-python-sdk"

    def __init__(self, timeout: float = CHART_TIMEOUT, memory: int = MEMORY_LIMIT) -> None:
        self._timeout = timeout
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this object

    def render(self, request: ChartRequest) -> list[Template]:
        """See `Renderer`; a chart that ends the child or takes too long is a RenderError."""
        reply = self._ask(json.dumps(msgspec.to_builtins(request)).encode() + b"\n")
        if "error" in reply:
            raise RenderError(_clean(str(reply["error"])))
        found = [Template(_inside(path), text) for path, text in reply["crds"]]
        found.extend(Template(_inside(path), text) for path, text in sorted(reply["templates"].items()))
        return [template for template in found if not template.path.endswith("NOTES.txt")]

    def close(self) -> None:
        """End the child."""
        self._end()
        self._messages.close()

    def _ask(self, line: bytes) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError as error:
            raise self._crashed() from error
        return self._answer(process, self._timeout)

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        limits = [str(self._memory), str(PROCESSOR_LIMIT)]
        program = [sys.executable, "-I", worker.__file__]
        self._process = subprocess.Popen(
            [sys.executable, "-I", limited.__file__, *limits, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            cwd=os.path.dirname(worker.__file__),
            env={"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "GOMEMLIMIT": "1GiB"},
        )
        greeting = self._answer(self._process, START_TIMEOUT)
        if "error" in greeting:
            self._end()
            raise RenderError(
                f"the Helm library does not load: {greeting['error']}",
                hint="install helm, or a wheel of helm-python-sdk that fits this machine",
            )
        return self._process

    def _answer(self, process: "subprocess.Popen[bytes]", timeout: float) -> dict[str, Any]:
        assert process.stdout is not None
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            line = process.stdout.readline(MAX_ANSWER)
        finally:
            timer.cancel()
        if expired.is_set():
            self._end()
            raise RenderError(f"rendering took longer than {timeout:g} seconds")
        if not line.endswith(b"\n"):
            if len(line) >= MAX_ANSWER:
                self._end()
                raise RenderError(f"the rendered text is larger than {MAX_ANSWER >> 20} MiB")
            raise self._crashed()
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _crashed(self) -> RenderError:
        status = self._process.wait() if self._process else 0
        self._end()
        end = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, end - 100_000))
        said = self._messages.read().decode(errors="replace").strip()
        self._messages.truncate(0)
        # A crash of Go names its reason first and then every thread there is.
        reason = next((text for text in said.splitlines() if "error" in text or "panic" in text), said[-300:])
        return RenderError(f"the Helm library crashed (status {status}): {reason[:300]}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # What was left in the buffer has no reader any more.
                with contextlib.suppress(OSError):
                    pipe.close()
        process.kill()
        process.wait()


def _inside(path: str) -> str:
    """The path without the chart's own name."""
    return path.partition("/")[2] or path


def _clean(message: str) -> str:
    return message.strip()[:2000]
