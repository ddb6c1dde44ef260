"""Images in annotations that tell a controller what to run, such as `sidecar.istio.io/proxyImage`. Likely.

Annotations of the object and of the pods that it makes. Not here: annotations of charts (the source helm).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Confidence, Item, Ref
from isthmus.scan.document import mapping_at
from isthmus.scan.paths import key_path
from isthmus.scan.recognise import Look, look
from isthmus.scan.view import View
from isthmus.scan.words import is_policy, names_image

RULE = "annotation"


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that an annotation names."""
    yield from _annotations(view, view.document.annotations, ".metadata.annotations")
    for pod in view.pods:
        if pod.parent is not None:
            metadata = mapping_at(pod.parent, "metadata")
            path = f"{pod.path.removesuffix('.spec')}.metadata.annotations"
            yield from _annotations(view, mapping_at(metadata, "annotations"), path)


def _annotations(view: View, annotations: Mapping[str, Any], path: str) -> Iterator[Ref | Item]:
    for key, value in annotations.items():
        name = key.rpartition("/")[2]
        if isinstance(value, str) and names_image(name) and not is_policy(name):
            seen = look(value)
            if seen is not Look.NONE:
                confidence: Confidence = "likely" if seen >= Look.FAIR else "possible"
                yield view.image(value, view.finding(key_path(path, key), RULE, confidence))
