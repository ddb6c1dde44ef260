"""The source `cluster:` against the simulator of an API server."""

import base64
import gzip
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.cluster import read
from tests.scan_sources.api_simulator import Recording, simulator

DIGEST = "sha256:" + "a" * 64
NGINX = "docker.io/library/nginx"
POD_SPEC = {"containers": [{"name": "m", "image": "nginx:1.25"}]}


def named(name: str, **rest: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "web", "managedFields": [{}]}, **rest}


def status_of(image: str, image_id: str) -> dict[str, Any]:
    return {"containerStatuses": [{"image": image, "imageID": image_id}]}


def helm_secret(name: str, status: str, release: Any) -> dict[str, Any]:
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    metadata = {"name": name, "namespace": "web", "labels": {"name": name, "status": status}}
    return {"metadata": metadata, "type": "helm.sh/release.v1", "data": {"release": packed}}


@pytest.fixture
def recording() -> Recording:
    old = {"ownerReferences": [{"kind": "Deployment", "controller": True}], "name": "old"}
    hook = {
        "path": "web/templates/test.yaml",
        "manifest": "kind: Pod\nmetadata: {annotations: {helm.sh/hook: test}}",
    }
    node = {
        "images": [
            {"names": [f"registry.k8s.io/pause@{DIGEST}", "registry.k8s.io/pause:3.10"]},
            {"names": ["x:1"]},
        ]
    }
    node["images"].append({"names": ["<none>:<none>"]})
    annotation = {"kubernetes.io/config.mirror": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    return Recording(
        resources={
            "/api/v1": [("pods", "Pod"), ("nodes", "Node"), ("secrets", "Secret"), ("events", "Event")],
            "/apis/apps/v1": [
                ("deployments", "Deployment"), ("deployments/scale", "Scale"), ("replicasets", "ReplicaSet"),
            ],
            "/apis/example.org/v1": [("widgets", "Widget")],
            "/apis/networking.k8s.io/v1": [("ingresses", "Ingress")],
        },
        lists={
            "/api/v1/pods": [
                named("a", spec=POD_SPEC, status=status_of(f"{NGINX}:1.25", f"{NGINX}@{DIGEST}")),
                named("b", spec=POD_SPEC, status=status_of("old:1", f"docker-pullable://quay.io/x/other@{DIGEST}")),
                named("c", spec=POD_SPEC, status=status_of("local:1", DIGEST)),
                {"metadata": {"name": "static", "annotations": annotation}, "spec": POD_SPEC},
            ],
            "/api/v1/nodes": [{"metadata": {"name": "n1"}, "status": node}],
            "/api/v1/secrets": [
                {"metadata": {"name": "password"}, "type": "Opaque", "data": {"p": "c2VjcmV0"}},
                helm_secret("shop", "deployed", {"manifest": "---\nkind: Service\n", "hooks": [hook]}),
                helm_secret("shop", "superseded", {"manifest": "kind: Old\n"}),
                {**helm_secret("bad", "deployed", {}), "data": {"release": "!!"}},
            ],
            "/apis/apps/v1/deployments": [named(f"d{number}", spec={}, status={"x": 1}) for number in range(600)],
            "/apis/apps/v1/replicasets": [{"metadata": old}, {"metadata": {"name": "own"}}],
            "/apis/example.org/v1/widgets": [named("w", spec={"image": "x:1"})],
        },
    )  # fmt: skip


def write_config(path: Path, server: str, **user: Any) -> Path:
    cluster = user.pop("cluster", {})
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")]
    config = {
        "current-context": "one",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def scan(config: Path, query: str = "") -> list[Document | Item | Ref | Endpoint]:
    return list(read(SourceSpec.parse(f"cluster:{config}?{query}")))


def test_everything_that_runs_is_read(recording: Recording, tmp_path: Path) -> None:
    recording.token, recording.busy_first = "t0ken", True
    with simulator(recording) as server:
        found = scan(write_config(tmp_path / "config", server, token="t0ken"))
    documents = {thing.object_id: thing for thing in found if isinstance(thing, Document)}
    assert len([name for name in documents if name.startswith("Deployment/web/")]) == 600
    assert {"Pod/web/a", "Pod/static", "ReplicaSet/own", "Widget/web/w", "Service", "Pod"} <= set(documents)
    assert not {"ReplicaSet/old", "Node/n1", "Old", "Secret/password"} & set(documents)
    deployment = documents["Deployment/web/d0"].data
    assert (deployment["apiVersion"], "status" in deployment) == ("apps/v1", False)
    assert "managedFields" not in deployment["metadata"]
    assert documents["Pod/static"].note == "static pod"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in documents["Pod/static"].annotations
    assert documents["Pod"].when == "test"
    assert documents["Service"].source == "cluster:one helm release web/shop manifest"
    assert not {"/apis/networking.k8s.io/v1", "/api/v1/events"} & set(recording.asked)
    assert [item.what for item in found if isinstance(item, Item)] == ["cluster:one helm release web/bad"]


def test_what_really_ran_is_pinned(recording: Recording, tmp_path: Path) -> None:
    with simulator(recording) as server:
        refs = {ref.name: ref for ref in scan(write_config(tmp_path / "config", server)) if isinstance(ref, Ref)}
    pause = f"registry.k8s.io/pause:3.10@{DIGEST}"
    ran = {f"{NGINX}:1.25@{DIGEST}", f"quay.io/x/other@{DIGEST}"}
    assert set(refs) == ran | {pause, "docker.io/library/x:1"}
    assert refs[pause].is_locked
    assert not refs["docker.io/library/x:1"].is_locked


def test_a_kind_that_may_not_be_listed_is_an_item_and_the_rest_is_read(
    recording: Recording, tmp_path: Path
) -> None:
    recording.refused = {"/api/v1/pods": 403, "/api/v1/secrets": 403, "/apis/example.org/v1": 503}
    with simulator(recording) as server:
        config = write_config(tmp_path / "config", server)
        found, without = scan(config), scan(config, "secrets=false&context=two")
    items = [thing for thing in found if isinstance(thing, Item)]
    assert {item.what.partition(": ")[2] for item in items} == {
        "the API group example.org",
        "the list of Pod",
        "the Helm releases, which are Secrets",
    }
    assert all("rbac" in item.hint or "API service" in item.hint for item in items)
    assert len([thing for thing in found if isinstance(thing, Document)]) > 600
    assert len([thing for thing in without if isinstance(thing, Item)]) == 2
    assert {thing.source for thing in without if isinstance(thing, Document)} == {"cluster:two"}


def test_errors_are_clear(recording: Recording, tmp_path: Path) -> None:
    recording.token = "t0ken"
    with simulator(recording) as server, pytest.raises(UnreachableError) as caught:
        scan(write_config(tmp_path / "config", server, token="expired-s3cret"))
    assert caught.value.code == "unauthorized"
    assert "expired" in caught.value.message
    assert "s3cret" not in str(caught.value.as_document())
    with pytest.raises(UnreachableError) as caught:
        scan(write_config(tmp_path / "config", server, token="t0ken"))
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize(
    ("text", "query", "code"),
    [
        ("", "", "invalid-config"),
        ("[]", "", "invalid-config"),
        ("a: [", "", "invalid-config"),
        ("contexts: []", "", "invalid-config"),
        ("contexts: []", "context=x", "invalid-config"),
        ("{current-context: a, contexts: [{name: a, context: {cluster: b}}]}", "", "invalid-config"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: b}}], clusters: [{name: b}]}",
            "",
            "invalid-config",
        ),
        (None, "", "file-not-found"),
        ("", "secrets=maybe", "invalid-source"),
    ],
)
def test_wrong_kubeconfigs(tmp_path: Path, text: str | None, query: str, code: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        scan(path, query)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("user", "kind", "code"),
    [
        ({"auth-provider": {"name": "gcp"}}, UsageError, "invalid-config"),
        ({"client-certificate-data": "!!"}, UsageError, "invalid-config"),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, UsageError, "invalid-config"),
        ({"token": "a\r\nX: b"}, UsageError, "invalid-config"),
        ({"exec": {"command": "isthmus-no-such-program"}}, UnreachableError, "unauthorized"),
        ({"exec": {"command": "false"}}, UnreachableError, "unauthorized"),
        ({"exec": {"command": "echo", "args": ["s3cret"]}}, UnreachableError, "unauthorized"),
    ],
)
def test_wrong_credentials(tmp_path: Path, user: dict[str, Any], kind: type[UsageError], code: str) -> None:
    with pytest.raises(kind) as caught:
        scan(write_config(tmp_path / "config", "https://127.0.0.1:1", **user))
    assert caught.value.code == code
    assert "s3cret" not in caught.value.message


def test_a_program_may_fetch_the_token(recording: Recording, tmp_path: Path) -> None:
    recording.token = "from-program"
    script = 'test -n "$KUBERNETES_EXEC_INFO" && echo "{\\"status\\": {\\"token\\": \\"$MINE\\"}}"'
    plugin = {"command": "sh", "args": ["-c", script], "env": [{"name": "MINE", "value": "from-program"}]}
    with simulator(recording) as server:
        assert scan(write_config(tmp_path / "config", server, exec=plugin))


def test_certificates_are_verified_both_ways(recording: Recording, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("kubernetes.default.svc").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("admin@example.org")
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    user = {
        "client-certificate-data": base64.b64encode(client.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(client.private_key_pem.bytes()).decode(),
    }
    right = {"certificate-authority": "ca.pem", "tls-server-name": "kubernetes.default.svc"}
    with simulator(recording, tls) as server:
        assert scan(write_config(tmp_path / "config", server, cluster=right, **user))
        for cluster in ({}, {"certificate-authority": "ca.pem"}):
            with pytest.raises(UnreachableError) as caught:
                scan(write_config(tmp_path / "config", server, cluster=cluster, **user))
            assert caught.value.code == "tls-failed"
        skip = {"insecure-skip-tls-verify": True}
        assert scan(write_config(tmp_path / "config", server, cluster=skip, **user))
