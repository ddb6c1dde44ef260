"""Chooses what renders charts on this machine, and says how to get something where there is nothing.

Not here: the renderers themselves (`binary`, `sdk`).
"""

from isthmus.scan.helm.binary import BinaryRenderer, find_helm
from isthmus.scan.helm.request import ChartRequest, Renderer, RenderError, Template
from isthmus.scan.helm.sdk import SdkRenderer, is_available

INSTALL_HINT = "install helm (https://helm.sh), or the Helm library: pip install 'isthmus[helm]'"


class NoRenderer:
    """Stands where nothing can render: every chart is a RenderError that says what to install."""

    name = "none"

    def render(self, request: ChartRequest) -> list[Template]:  # noqa: ARG002
        """Raises RenderError."""
        raise RenderError("there is neither a helm nor the Helm library to render it with", hint=INSTALL_HINT)

    def close(self) -> None:
        """Nothing is open."""


def renderer(*, many: bool = False) -> Renderer:
    """An installed helm, otherwise the library; for `many` charts the library first, as it starts once."""
    program = find_helm()
    if program and not (many and is_available()):
        return BinaryRenderer(program)
    return SdkRenderer() if is_available() else NoRenderer()
