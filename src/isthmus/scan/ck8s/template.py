"""`Templates`: renders helmfile templates, each as a chart with one template in it.

Not here: the translation (`gotmpl`), and what the text means (`state`, `releases`).
"""

import glob
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from isthmus.errors import IsthmusError
from isthmus.scan.ck8s.gotmpl import Functions, translate
from isthmus.scan.helm.request import ChartRequest, Renderer, RenderError
from isthmus.scan.input import read_text

MAX_TEMPLATE = 4 << 20
_CHART = "apiVersion: v2\nname: gotmpl\nversion: 0.1.0\n"


class Templates:
    """Renders the templates below `root`, and nothing outside of it is read."""

    def __init__(self, renderer: Renderer, root: str, environment: Mapping[str, str]) -> None:
        self._renderer = renderer
        self._root = os.path.realpath(root)
        self._environment = environment
        self._folder = tempfile.TemporaryDirectory(prefix="isthmus-gotmpl-")
        self._charts: dict[str, str] = {}

    def render_file(self, path: str, data: Mapping[str, Any], name: str = "", namespace: str = "") -> str:
        """Render a file below the root; raises RenderError."""
        return self.render(self.read(path), os.path.dirname(path), data, name, namespace)

    def render(self, text: str, folder: str, data: Mapping[str, Any], name: str = "", namespace: str = "") -> str:
        """Render a text that stands in `folder` of the root, whose helpers it may include.

        `data` is `V`, helmfile's values, and `EnvName`. Raises RenderError.
        """
        chart = self._charts.get(folder) or self._make_chart(folder)
        self._write(os.path.join(chart, "templates", "main.txt"), self._translate(text, folder))
        request = ChartRequest(
            chart=chart, name=name or "gotmpl", namespace=namespace or "default", data=data, crds=False
        )
        rendered = [part.text for part in self._renderer.render(request) if part.path == "templates/main.txt"]
        return "\n".join(rendered)

    def read(self, path: str) -> str:
        """A file below the root; raises RenderError."""
        full = os.path.realpath(os.path.join(self._root, path))
        if os.path.commonpath([full, self._root]) != self._root:
            raise RenderError(f"{path} is outside of the checkout")
        try:
            return read_text(full)
        except IsthmusError as error:
            raise RenderError(f"{path}: {error.message}") from error

    def close(self) -> None:
        """Remove the temporary charts."""
        self._folder.cleanup()

    def _translate(self, text: str, folder: str) -> str:
        if len(text) > MAX_TEMPLATE:
            raise RenderError(f"a template is larger than {MAX_TEMPLATE >> 20} MiB")
        return translate(text, Functions(lambda name: self.read(os.path.join(folder, name)), self._variable))

    def _variable(self, name: str) -> str:
        if name not in self._environment:
            raise RenderError(f"the template needs the environment variable {name}")
        return self._environment[name]

    def _make_chart(self, folder: str) -> str:
        chart = os.path.join(self._folder.name, str(len(self._charts)))
        os.makedirs(os.path.join(chart, "templates"))
        self._write(os.path.join(chart, "Chart.yaml"), _CHART)
        for path in sorted(glob.glob(os.path.join(glob.escape(os.path.join(self._root, folder)), "_*.tpl"))):
            helper = os.path.relpath(path, self._root)
            self._write(
                os.path.join(chart, "templates", os.path.basename(path)),
                self._translate(self.read(helper), folder),
            )
        self._charts[folder] = chart
        return chart

    @staticmethod
    def _write(path: str, text: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
