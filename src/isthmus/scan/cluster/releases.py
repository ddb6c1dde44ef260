"""Helm releases as a cluster stores them: their hooks are not in the cluster when they have run.

A release is a Secret (or ConfigMap) whose `release` is base64 of gzip of JSON. Not here: rendering charts.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item
from isthmus.scan.document import Document, list_at, mapping_at, text_at
from isthmus.scan.helm.documents import documents
from isthmus.scan.helm.request import Template
from isthmus.scan.input import decompress

SECRET_TYPE = "helm.sh/release.v1"  # noqa: S105 - the name of a type
RULE = "helm-release"


def release_documents(secrets: Iterable[Mapping[str, Any]], label: str) -> Iterator[Document | Item]:
    """The manifest and hooks of the deployed revision of every release."""
    for secret in secrets:
        labels = mapping_at(mapping_at(secret, "metadata"), "labels")
        if text_at(labels, "status") != "deployed":
            continue
        namespace = text_at(mapping_at(secret, "metadata"), "namespace")
        source = f"{label} helm release {namespace}/{text_at(labels, 'name')}"
        try:
            release = _decode(text_at(mapping_at(secret, "data"), "release"), source)
        except UsageError as error:
            yield Item(source, f"the stored release cannot be read: {error.message}", Finding(source, rule=RULE))
            continue
        templates = [Template("manifest", text_at(release, "manifest"))]
        templates.extend(
            Template(text_at(hook, "path").partition("/")[2] or "hook", text_at(hook, "manifest"))
            for hook in list_at(release, "hooks")
        )
        yield from documents(templates, source)


def _decode(text: str, where: str) -> dict[str, Any]:
    try:
        # Once for the Secret, once for Helm.
        packed = base64.b64decode(base64.b64decode(text, validate=True), validate=True)
        release = json.loads(decompress(packed, where) if packed[:2] == b"\x1f\x8b" else packed)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise UsageError("invalid-input", "it is not base64 of gzip of JSON", where=where) from error
    if not isinstance(release, dict):
        raise UsageError("invalid-input", "it is no object", where=where)
    return release
