"""The source `ck8s:` on a checkout in miniature, and on a real one where there is one."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.document import Document
from isthmus.scan.helm.binary import find_helm
from isthmus.scan.helm.sdk import is_available
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.ck8s import read
from tests.scan_sources.checkout import VALUES, make_checkout
from tests.scan_sources.conftest import write_tree

REAL = os.environ.get("ISTHMUS_CK8S_CHECKOUT", "")
pytestmark = pytest.mark.skipif(not (is_available() or find_helm()), reason="neither helm nor helm-python-sdk")


def scan(root: Path, query: str = "") -> list[Document | Item | Ref]:
    return list(read(SourceSpec.parse(f"ck8s:{root}?{query}")))


def pods(found: list[Document | Item | Ref]) -> dict[str, str]:
    return {
        thing.source: thing.data["spec"]["containers"][0]["image"]
        for thing in found
        if isinstance(thing, Document) and thing.kind == "Pod"
    }


def processor_seconds() -> float:
    """Of this process and its children that have ended; unlike the clock, not those of other programs."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def items(found: list[Document | Item | Ref]) -> list[Item]:
    return [thing for thing in found if isinstance(thing, Item)]


def test_every_enabled_release_of_both_clusters(tmp_path: Path) -> None:
    found = scan(make_checkout(tmp_path / "apps"))
    assert items(found) == []
    assert pods(found) == {
        "ck8s:sc web/web templates/pod.yaml": "ghcr.io/x/web:1.0",
        "ck8s:sc web/web-service templates/pod.yaml": "ghcr.io/x/web:1.0",
        "ck8s:sc web/web-one templates/pod.yaml": "ghcr.io/x/web:one",
        "ck8s:wc web/web templates/pod.yaml": "ghcr.io/x/web:1.0",
    }
    hooks = {thing.source for thing in found if isinstance(thing, Document) and thing.kind == "ConfigMap"}
    assert "ck8s:wc web/web hooks/extra.yaml" in hooks


def test_values_come_from_templates_helpers_secrets_and_the_state(tmp_path: Path) -> None:
    found = scan(make_checkout(tmp_path / "apps"), "cluster=wc")
    (pod,) = [thing for thing in found if isinstance(thing, Document) and thing.kind == "Pod"]
    values: dict[str, Any] = json.loads(pod.annotations["values"])
    values.pop("global", None)  # some versions of Helm add it
    assert values == {
        "image": {"repository": "ghcr.io/x/web", "tag": "1.0"},
        "release": "web/web",
        "sealed": "s" * 32,
        "none": "none",
        "replicas": 2,
    }


def test_the_image_list_tells_what_is_rendered_from_what_is_not(tmp_path: Path) -> None:
    refs = [thing for thing in scan(make_checkout(tmp_path / "apps"), "cluster=wc") if isinstance(thing, Ref)]
    assert [(ref.name, ref.when, ref.findings[0].path) for ref in refs] == [
        ("ghcr.io/x/web:1.0", "always", ".images.web.main"),
        ("quay.io/x/other:2.0", "conditional", ".images.web.other"),
        ("ghcr.io/x/we:1", "conditional", ".images.web.begin"),
    ]


def test_releases_that_are_off_are_scanned_only_when_asked(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "apps")
    off = [
        thing for thing in scan(root, "cluster=wc&all=true") if isinstance(thing, Document) and thing.kind == "Pod"
    ]
    assert {(pod.source.split()[1], pod.when, pod.note) for pod in off} == {
        ("web/web", "always", ""),
        ("web/web-off", "conditional", "the release is off: extras.enabled is not true"),
        ("web/web-service", "conditional", "the release is off: ck8sManagementCluster.enabled is not true"),
    }


def test_a_release_of_one_cluster_need_not_render_in_the_other(tmp_path: Path) -> None:
    only_sc = VALUES + "{{ if not .Values.clusterApi }}{{ fail .Release.Name }}{{ end }}\n"
    root = make_checkout(tmp_path / "apps", {"helmfile.d/values/web/common.yaml.gotmpl": only_sc})
    assert [item.what for item in items(scan(root, "cluster=both"))] == ["release web/web"]
    assert [item.what for item in items(scan(root, "all=true"))] == ["release web/web"]
    assert len(items(scan(root, "cluster=wc&all=true"))) == 3


def test_flavours_are_layers(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "apps")
    assert set(pods(scan(root, "flavor=prod"))) == {"ck8s:sc web/web-service templates/pod.yaml"}
    with pytest.raises(UsageError) as caught:
        scan(root, "flavor=dve")
    assert (caught.value.code, caught.value.hint) == ("invalid-source", "it is one of air-gapped, prod")


def test_the_users_configuration_wins_and_encrypted_secrets_do_not_matter(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "apps")
    config = write_tree(
        tmp_path / "config",
        {
            "common-config.yaml": (
                "global: {ck8sFlavor: air-gapped, ck8sK8sInstaller: kubespray, ck8sCloudProvider: baremetal}\n"
                "images: {web: {main: 'registry.site/x/web:9'}}\n"
            ),
            "sc-config.yaml": "clusterApi: {clusters: []}\n",
            "secrets.yaml": (
                "web: {password: 'ENC[AES256_GCM,data:aa==,iv:bb,tag:cc,type:str]'}\nsops: {version: 3.8}\n"
            ),
        },
    )
    assert set(pods(scan(root, f"cluster=sc&config={config}")).values()) == {"registry.site/x/web:9"}
    missing = items(scan(root, f"config={config}"))
    assert [(item.what, item.hint) for item in missing] == [("wc-config.yaml", "give cluster=sc or cluster=wc")]


def test_a_release_that_does_not_render_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    broken = VALUES + '{{ if eq .Release.Name "web-service" }}{{ fail "give it a reason" }}{{ end }}\n'
    root = make_checkout(tmp_path / "apps", {"helmfile.d/values/web/common.yaml.gotmpl": broken})
    found = scan(root, "cluster=sc")
    (item,) = items(found)
    assert item.what == "release web/web-service"
    assert "give it a reason" in item.why
    assert len(pods(found)) == 2


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("helmfile.d/state.yaml.gotmpl", "{{ if }}", "missing value"),
        ("helmfile.d/state.yaml.gotmpl", "bases: [state.yaml.gotmpl]\n", "circle"),
        ("helmfile.d/state.yaml.gotmpl", "bases: [../../../../../etc/passwd]\n", "outside"),
        ("helmfile.d/state.yaml.gotmpl", "- a\n", "other than mappings"),
        ("helmfile.d/state.yaml.gotmpl", '{{ exec "id" (list) }}', "exec"),
        ("helmfile.d/bases/environments.yaml.gotmpl", "environments: {other: {}}\n", "no environment"),
        (
            "helmfile.d/stacks/web.yaml.gotmpl",
            "templates: {web-main: {inherit: [template: web-main]}}\n",
            "circle",
        ),
    ],
)
def test_a_broken_state_is_an_item(tmp_path: Path, file: str, text: str, message: str) -> None:
    found = scan(make_checkout(tmp_path / "apps", {file: text}), "cluster=wc")
    assert message in " ".join(item.why for item in items(found))
    assert pods(found) == {}


def test_what_is_no_checkout_is_an_error(tmp_path: Path) -> None:
    for query in ("", "cluster=xc"):
        with pytest.raises(UsageError) as caught:
            scan(tmp_path, query)
        assert caught.value.code == "invalid-source"
    root = make_checkout(tmp_path / "apps")
    for query in ("cluster=xc", f"config={tmp_path}/none", "all=maybe", "clustre=sc"):
        with pytest.raises(UsageError):
            scan(root, query)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir(REAL), reason="ISTHMUS_CK8S_CHECKOUT names no checkout")
@pytest.mark.parametrize("flavor", ["air-gapped", "prod", "dev"])
def test_a_real_checkout_renders_whole_and_quickly(flavor: str) -> None:
    start = processor_seconds()
    found = scan(Path(REAL), f"flavor={flavor}")
    seconds = processor_seconds() - start
    assert items(found) == []
    assert len([thing for thing in found if isinstance(thing, Document)]) > 1000
    text = json.dumps([thing.data for thing in found if isinstance(thing, Document)])
    for image in ("cert-manager-acmesolver", "aquasec/trivy", "node-collector", "prometheus-config-reloader"):
        assert image in text
    assert seconds < 20
