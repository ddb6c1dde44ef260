"""What is asked of a renderer and what it gives back, whichever renderer it is.

Not here: how a chart is rendered (`binary`, `sdk`) and what the text means (`documents`).
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

SetKind = Literal["set", "set-string", "set-json"]


class ChartRequest(msgspec.Struct, frozen=True):
    """One chart to render.

    `values` are texts of YAML values files, later ones win; `data` are values that are parsed already and
    win over them; `sets` are expressions as of Helm's `--set` and its like, which win over both.
    """

    chart: str
    name: str = "release-name"
    namespace: str = "default"
    values: tuple[str, ...] = ()
    data: Mapping[str, Any] = {}
    sets: tuple[tuple[SetKind, str], ...] = ()
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()
    crds: bool = True


class Template(msgspec.Struct, frozen=True):
    """The text that one template file became; `path` is inside the chart, such as `templates/x.yaml`."""

    path: str
    text: str


class RenderError(Exception):
    """A chart that did not render, with the message of the renderer; never leaves `scan`."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Renderer(Protocol):
    """What renders charts; one may be used by one thread at a time."""

    name: str

    def render(self, request: ChartRequest) -> list[Template]:
        """The rendered templates and definitions of a chart, in order; raises RenderError."""
        ...

    def close(self) -> None:
        """Let go of processes and files."""
        ...
