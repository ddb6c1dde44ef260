"""`helm:CHART[?values=F&set=a.b%3Dc&name=N&namespace=NS&kube-version=V&api-versions=A&version=V]`.

CHART is a directory, a .tgz archive or `oci://…`. A chart that does not render is an item that is not
resolved, with the renderer's message; what its annotations list is reported all the same. Not here:
rendering (`scan.helm`).
"""

import os
import tempfile
from collections.abc import Iterator

from isthmus.errors import IsthmusError
from isthmus.inventory.model import Finding, Item, Ref
from isthmus.scan.document import Document, text_at
from isthmus.scan.helm.documents import documents
from isthmus.scan.helm.engine import renderer
from isthmus.scan.helm.fetch import chart_directory
from isthmus.scan.helm.metadata import annotated_images, read_chart_file
from isthmus.scan.helm.request import ChartRequest, RenderError, SetKind
from isthmus.scan.input import read_text
from isthmus.scan.source import SourceSpec

OPTIONS = (
    "values", "set", "set-string", "set-json", "name", "namespace", "kube-version", "api-versions", "version",
)  # fmt: skip
_SET_KINDS: tuple[SetKind, ...] = ("set", "set-string", "set-json")


def read(spec: SourceSpec) -> Iterator[Document | Item | Ref]:
    """Render the chart and yield its documents and annotated images.

    Raises UsageError where the source names what is not there, or a values file cannot be read.
    """
    spec.allow(*OPTIONS)
    values = tuple(read_text(path) for path in spec.many("values"))
    with tempfile.TemporaryDirectory(prefix="isthmus-chart-") as folder:
        try:
            directory = chart_directory(spec.value, spec.one("version"), folder)
        except RenderError as error:
            yield failed(spec.value, f"helm:{spec.value}", error)
            return
        label = f"helm:{_short(spec.value, directory)}"
        yield from annotated_images(directory, label)
        request = ChartRequest(
            chart=directory,
            name=spec.one("name", "release-name"),
            namespace=spec.one("namespace", "default"),
            values=values,
            sets=tuple((kind, text) for kind in _SET_KINDS for text in spec.many(kind)),
            kube_version=spec.one("kube-version"),
            api_versions=tuple(part for text in spec.many("api-versions") for part in text.split(",")),
        )
        yield from render(request, spec.value, label)


def render(request: ChartRequest, what: str, label: str) -> Iterator[Document | Item]:
    """The documents of one chart, or the item that says why there are none."""
    engine = renderer()
    try:
        templates = engine.render(request)
    except RenderError as error:
        yield failed(what, label, error)
        return
    finally:
        engine.close()
    yield from documents(templates, label)


def failed(what: str, label: str, error: RenderError) -> Item:
    """The item for a chart that did not render."""
    hint = error.hint
    if not hint and "missing in charts" in error.message:
        hint = "run `helm dependency build` in the chart first"
    return Item(
        what=what,
        why=f"the chart did not render: {error.message}",
        finding=Finding(source=label, rule="render"),
        hint=hint or "give the values that it needs with values=FILE or set=key%3Dvalue",
    )


def _short(value: str, directory: str) -> str:
    """The chart's name, or the last part of what was written where it cannot be read."""
    try:
        name = text_at(read_chart_file(directory), "name")
    except IsthmusError:
        name = ""
    return name or os.path.basename(value.rstrip("/"))
