"""`cluster:KUBECONFIG[?context=C&context=D&secrets=false]`: what a running cluster runs.

Read-only; docs/cluster-rbac.md has the permissions that it needs. A kind that may not be listed is an item
that is not resolved, and the others are read all the same. Not here: the protocol (`scan.cluster`).
"""

import os
from collections.abc import Iterator

from isthmus.errors import UsageError
from isthmus.inventory.model import Endpoint, Finding, Item, Ref
from isthmus.scan.cluster.client import ApiClient, ApiError
from isthmus.scan.cluster.discovery import Kind, Refused, kinds
from isthmus.scan.cluster.kubeconfig import load
from isthmus.scan.cluster.objects import document
from isthmus.scan.cluster.releases import SECRET_TYPE, release_documents
from isthmus.scan.cluster.running import node_images, pod_images
from isthmus.scan.document import Document
from isthmus.scan.source import SourceSpec

RULE = "cluster-list"
RBAC_HINT = "grant the permissions of docs/cluster-rbac.md"


def read(spec: SourceSpec) -> Iterator[Document | Item | Ref | Endpoint]:
    """Every object of every context that is asked for, and what its pods and nodes really run.

    Raises UsageError (`file-not-found`, `invalid-config`) for the kubeconfig, UnreachableError for the server.
    """
    spec.allow("context", "secrets")
    secrets = spec.one("secrets", "true")
    if secrets not in {"true", "false"}:
        raise UsageError("invalid-source", f"secrets is true or false, not {secrets[:40]!r}", where=str(spec))
    for context in spec.many("context") or [""]:
        config = load(os.path.expanduser(spec.value), context)
        client = ApiClient(config)
        try:
            yield from _read_cluster(client, f"cluster:{config.context}", secrets == "true")
        finally:
            client.close()


def _read_cluster(client: ApiClient, label: str, secrets: bool) -> Iterator[Document | Item | Ref]:
    for kind in kinds(client):
        if isinstance(kind, Refused):
            yield _item(kind.what, kind.why, kind.status, label)
            continue
        try:
            for item in client.list(kind.path):
                yield from _object(item, kind, label)
        except ApiError as error:
            yield _item(f"the list of {kind.title}", str(error), error.status, label)
    if secrets:
        yield from _releases(client, label)


def _object(item: dict[str, object], kind: Kind, label: str) -> Iterator[Document | Ref]:
    whole = Document(label, {**item, "apiVersion": kind.api_version, "kind": kind.kind})
    if kind.kind == "Pod" and not kind.group:
        yield from pod_images(whole)
    if kind.kind == "Node" and not kind.group:
        yield from node_images(whole)
        return
    found = document(item, kind, label)
    if found is not None:
        yield found


def _releases(client: ApiClient, label: str) -> Iterator[Document | Item]:
    query = {"fieldSelector": f"type={SECRET_TYPE}"}
    try:
        yield from release_documents(client.list("/api/v1/secrets", **query), label)
    except ApiError as error:
        item = _item("the Helm releases, which are Secrets", str(error), error.status, label)
        yield Item(item.what, item.why, item.finding, f"{RBAC_HINT}, or give secrets=false to go without them")


def _item(what: str, why: str, status: int, label: str) -> Item:
    hint = RBAC_HINT if status == 403 else "see whether kubectl can list it; is the API service behind it running?"
    return Item(f"{label}: {what}", f"it was not told: {why}", Finding(source=label, rule=RULE), hint)
