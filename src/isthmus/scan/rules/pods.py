"""Images of pods: containers, init and ephemeral containers, and volumes that are images. Certain.

In custom resources that embed pod specifications it is likely: the operator runs them, but may change them.
Not here: what arguments and variables of the containers name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.inventory.model import Confidence, Item, Ref, When
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.paths import index_path, key_path
from isthmus.scan.pod_specs import PodSpec
from isthmus.scan.view import CONTAINER_LISTS, View

RULE = "pod-container"
VOLUME_RULE = "pod-volume"


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that the pods of this document are made of."""
    for pod in view.pods:
        when, note = _condition(pod.data)
        for path, value, rule in _images(pod):
            confidence: Confidence = "certain" if pod.certain else "likely"
            if value.strip():
                yield view.image(value, view.finding(path, rule, confidence, when, note))
            elif pod.certain:
                finding = view.finding(path, rule, "certain", when, note)
                yield Item(
                    what=path, why="the image is empty", finding=finding, hint="give the container an image"
                )


def _images(pod: PodSpec) -> Iterator[tuple[str, str, str]]:
    for name in CONTAINER_LISTS:
        for index, container in enumerate(list_at(pod.data, name)):
            if isinstance(container, Mapping) and isinstance(container.get("image"), str):
                yield f"{index_path(key_path(pod.path, name), index)}.image", container["image"], RULE
    for index, volume in enumerate(list_at(pod.data, "volumes")):
        value = text_at(mapping_at(volume, "image"), "reference")
        if value:
            yield f"{index_path(key_path(pod.path, 'volumes'), index)}.image.reference", value, VOLUME_RULE


def _condition(pod: Mapping[str, Any]) -> tuple[When, str]:
    selector = mapping_at(pod, "nodeSelector")
    system = text_at(selector, "kubernetes.io/os") or text_at(mapping_at(pod, "os"), "name")
    if system == "windows":
        return "conditional", "only on Windows nodes"
    return "always", ""
