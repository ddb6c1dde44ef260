"""What a cluster really ran: the digests of containers in pods' status, and the images that nodes hold.

Not here: what objects ask for (`rules`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.model import Confidence, Finding, Ref
from isthmus.oci import Reference
from isthmus.oci.digest import Digest
from isthmus.scan.document import Document, list_at, mapping_at, text_at

_DIGEST = re.compile(r"^(?:docker-pullable://)?([^@\s]+)@(sha256:[0-9a-f]{64})$")
_PAUSE = re.compile(r"(?:^|/)pause(?:-[a-z0-9]+)?$")
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def pod_images(pod: Document) -> Iterator[Ref]:
    """The images of a pod's containers by the digests that were really run, where the runtime tells them."""
    for group in _STATUSES:
        for index, status in enumerate(list_at(mapping_at(pod.data, "status"), group)):
            image, match = text_at(status, "image"), _DIGEST.match(text_at(status, "imageID"))
            if match is None:
                continue  # a bare identifier of a local image: no registry has it by that
            finding = Finding(
                source=pod.source,
                object=pod.object_id,
                path=f".status.{group}[{index}].imageID",
                rule="pod-status",
            )
            yield from _pinned(image, match.group(1), match.group(2), finding)


def node_images(node: Document) -> Iterator[Ref]:
    """The images that a node holds: the pause image is of every pod, others may be left over from the past."""
    for index, image in enumerate(list_at(mapping_at(node.data, "status"), "images")):
        names = [name for name in list_at(image, "names") if isinstance(name, str)]
        tagged = [name for name in names if "@" not in name]
        digests = [match for match in map(_DIGEST.match, names) if match is not None]
        for name in tagged or [match.group() for match in digests]:
            try:
                reference = Reference.parse(name)
            except UsageError:
                continue  # names such as <none>:<none> stand for images without one
            is_pause = bool(_PAUSE.search(reference.path))
            confidence: Confidence = "likely" if is_pause else "possible"
            note = "the sandbox of every pod" if is_pause else "held by a node, perhaps from the past"
            digest = next((m.group(2) for m in digests if _same(m.group(1), reference)), "")
            if digest and reference.digest is None:
                reference = reference.with_digest(Digest(digest))
            yield Ref(
                "image",
                str(reference),
                as_written=(name,),
                findings=(
                    Finding(
                        source=node.source,
                        object=node.object_id,
                        path=f".status.images[{index}]",
                        rule="node-image",
                        confidence=confidence,
                        note=note,
                    ),
                ),
            )


def _pinned(image: str, repository: str, digest: str, finding: Finding) -> Iterator[Ref]:
    """The tag as written with the digest that ran; what ran under another name goes by that name alone."""
    try:
        ran = Reference.parse(f"{repository}@{digest}")
        asked = Reference.parse(image) if image and not image.startswith("sha256:") else ran
    except UsageError:
        return
    reference = asked.with_digest(Digest(digest)) if asked.repository == ran.repository else ran
    yield Ref("image", str(reference), as_written=(image or str(ran),), findings=(finding,))


def _same(repository: str, reference: Reference) -> bool:
    try:
        return Reference.parse(repository).repository == reference.repository
    except UsageError:
        return False


def is_static(metadata: Mapping[str, Any]) -> bool:
    """Whether a pod is one that a kubelet runs from a file."""
    return "kubernetes.io/config.mirror" in mapping_at(metadata, "annotations")
