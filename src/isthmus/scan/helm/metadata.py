"""What a chart says about itself in Chart.yaml: its name, and the images that its annotations list.

Not here: what it renders to.
"""

import os
from collections.abc import Iterator
from typing import Any

from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.model import Finding, Item, Ref
from isthmus.oci import Reference
from isthmus.scan.document import mapping_at, text_at
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all

IMAGE_LISTS = ("artifacthub.io/images", "helm.sh/images", "images")
"""Annotations that hold YAML: a list of mappings with `image`, or of references."""
MAX_DEPTH = 8
"""Of charts inside charts."""


def read_chart_file(directory: str) -> dict[str, Any]:
    """Chart.yaml as a mapping; raises UsageError (`invalid-input`, `file-not-found`) or UnreachableError."""
    path = os.path.join(directory, "Chart.yaml")
    documents = parse_all(read_text(path), path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise UsageError("invalid-input", "it is not one mapping, as Chart.yaml has to be", where=path)
    return documents[0]


def annotated_images(directory: str, label: str, depth: int = 0) -> Iterator[Ref | Item]:
    """The images that the chart's and its unpacked subcharts' annotations list.

    They are lists for people and catalogues: an image that is only there may belong to a part of the chart
    that these values switch off, hence `conditional`.
    """
    try:
        chart = read_chart_file(directory)
    except IsthmusError as error:
        yield Item(what=error.where, why=error.message, finding=Finding(source=label, rule="chart-annotation"))
        return
    annotations = mapping_at(chart, "annotations")
    for key in IMAGE_LISTS:
        if text_at(annotations, key):
            finding = Finding(
                source=f"{label} Chart.yaml",
                object=f"Chart/{text_at(chart, 'name')}",
                path=f'.annotations["{key}"]',
                rule="chart-annotation",
                confidence="likely",
                when="conditional",
            )
            yield from _images(text_at(annotations, key), finding)
    folder = os.path.join(directory, "charts")
    if depth < MAX_DEPTH and os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            below = os.path.join(folder, name)
            if os.path.isfile(os.path.join(below, "Chart.yaml")):
                yield from annotated_images(below, f"{label} charts/{name}", depth + 1)


def _images(text: str, finding: Finding) -> Iterator[Ref | Item]:
    try:
        values = parse_all(text, finding.path)
    except UsageError as error:
        yield Item(what=finding.path, why=f"the annotation is not YAML: {error.message}", finding=finding)
        return
    for value in values:
        for entry in value if isinstance(value, list) else []:
            written = entry if isinstance(entry, str) else text_at(entry, "image")
            if not written:
                continue
            try:
                name = str(Reference.parse(written))
            except UsageError as error:
                yield Item(what=written[:300], why=error.message, finding=finding)
                continue
            yield Ref("image", name, as_written=(written,), findings=(finding,))
