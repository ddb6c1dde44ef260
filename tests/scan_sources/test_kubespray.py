"""The source `kubespray:` on a checkout in miniature, with Kubespray's own ways of writing variables."""

import os
from pathlib import Path

import pytest

from isthmus.errors import UsageError
from isthmus.inventory.model import Item, Ref
from isthmus.scan.kubespray.templating import EvaluationError, Variables, version_key
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.kubespray import read
from tests.scan_sources.conftest import write_tree

pytest.importorskip("jinja2", reason="Jinja2 is not installed")
REAL = os.environ.get("ISTHMUS_KUBESPRAY_CHECKOUT", "")
SHA = "a" * 64
DEFAULTS = r"""
kube_version: "{{ (kubelet_checksums['amd64'] | dict2items)[0].key }}"
kube_major_version: "{{ kube_version | regex_replace('^([0-9]+)\\.([0-9]+)\\.[0-9]+$', '\\1.\\2') }}"
image_arch: "{{ host_architecture | default('amd64') }}"
host_architecture: >-
  {%- if ansible_facts['architecture'] in machines -%}
  {{ machines[ansible_facts['architecture']] }}
  {%- endif %}
machines: {x86_64: amd64, aarch64: arm64}
kube_image_repo: registry.k8s.io
etcd_deployment_type: host
plugin: calico
etcd_version: "{{ etcd_supported_versions[kube_major_version] }}"
coredns_tag: "{{ 'v' if coredns_version is version('1.7.1', '>=') else '' }}{{ coredns_version }}"
coredns_version: 1.11.3
broken: "{{ nowhere }}"
circle: "{{ circle_back }}"
circle_back: "{{ circle }}"
downloads:
  etcd:
    container: "{{ etcd_deployment_type != 'host' }}"
    file: "{{ etcd_deployment_type == 'host' }}"
    enabled: true
    repo: quay.io/coreos/etcd
    tag: "v{{ etcd_version }}"
    url: "https://github.com/etcd-io/etcd/etcd-v{{ etcd_version }}-{{ image_arch }}.tar.gz"
    checksum: "{{ etcd_checksums[image_arch][etcd_version] | d(None) }}"
  coredns:
    {container: true, enabled: true, repo: "{{ kube_image_repo }}/coredns/coredns", tag: "{{ coredns_tag }}"}
  cilium: {container: true, enabled: "{{ plugin == 'cilium' }}", repo: quay.io/cilium/cilium, tag: v1}
"""
VARS = f"""
kubelet_checksums: {{amd64: {{1.31.4: x, 1.30.1: y}}}}
etcd_checksums: {{amd64: {{3.5.16: {SHA}}}, arm64: {{3.5.16: "sha256:{SHA}"}}}}
etcd_supported_versions:
  '1.31': "{{{{ (etcd_checksums['amd64'].keys() | select('version', '3.6', '<'))[0] }}}}"
  '1.29': "{{{{ nowhere }}}}"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_tree(
        tmp_path / "kubespray",
        {
            "roles/kubespray_defaults/defaults/main/download.yml": DEFAULTS,
            "roles/kubespray_defaults/vars/main/checksums.yml": VARS,
        },
    )


def scan(root: Path, query: str = "") -> list[Ref | Item]:
    return list(read(SourceSpec.parse(f"kubespray:{root}?{query}")))


def names(found: list[Ref | Item]) -> set[str]:
    assert not [thing for thing in found if isinstance(thing, Item)], found
    return {thing.name for thing in found if isinstance(thing, Ref)}


KUBE = {
    f"registry.k8s.io/kube-{part}:v1.31.4" for part in ("apiserver", "controller-manager", "scheduler", "proxy")
}


def test_what_the_defaults_choose(checkout: Path) -> None:
    assert names(scan(checkout)) == KUBE | {
        "https://github.com/etcd-io/etcd/etcd-v3.5.16-amd64.tar.gz",
        "registry.k8s.io/coredns/coredns:v1.11.3",
    }
    (etcd,) = [ref for ref in scan(checkout, "arch=arm64") if isinstance(ref, Ref) and ref.kind == "file"]
    assert etcd.name.endswith("-arm64.tar.gz")
    assert etcd.findings[0].note == f"sha256:{SHA}"


def test_an_inventory_wins_over_defaults_and_hosts_over_groups(checkout: Path, tmp_path: Path) -> None:
    inventory = write_tree(
        tmp_path / "inventory",
        {
            "hosts.yaml": "all: {}\n",
            "group_vars/all/all.yml": "plugin: none\netcd_deployment_type: kubeadm\n",
            "group_vars/all/offline.yml": "kube_image_repo: registry.site/k8s\n",
            "group_vars/k8s_cluster.yml": "plugin: cilium\n",
            "host_vars/old.yml": "coredns_version: 1.6.0\n",
            "host_vars/new.yml": "a: 1\n",
        },
    )
    found = names(scan(checkout, f"inventory={inventory}/hosts.yaml"))
    assert {"quay.io/coreos/etcd:v3.5.16", "quay.io/cilium/cilium:v1"} <= found
    assert {"registry.site/k8s/coredns/coredns:1.6.0", "registry.site/k8s/coredns/coredns:v1.11.3"} <= found
    assert "registry.site/k8s/kube-proxy:v1.31.4" in found
    extra = tmp_path / "extra.yml"
    extra.write_text("plugin: calico\n")
    assert "quay.io/cilium/cilium:v1" not in names(scan(checkout, f"inventory={inventory}&vars={extra}"))


def test_what_is_off_is_listed_only_when_asked(checkout: Path) -> None:
    off = [ref for ref in scan(checkout, "all=true") if isinstance(ref, Ref) and ref.when == "conditional"]
    assert [ref.name for ref in off] == ["quay.io/cilium/cilium:v1"]


def test_what_cannot_be_told_is_an_item(checkout: Path, tmp_path: Path) -> None:
    vault = write_tree(
        tmp_path / "inventory",
        {
            "group_vars/all.yml": "coredns_version: '{{ broken }}'\n",
            "group_vars/vault.yml": "$ANSIBLE_VAULT;1.1\n6\n",
        },
    )
    items = [thing for thing in scan(checkout, f"inventory={vault}") if isinstance(thing, Item)]
    assert [item.what for item in items] == [str(vault / "group_vars/vault.yml"), "image of .downloads.coredns"]
    assert "nowhere" in items[1].why
    unknown = write_tree(tmp_path / "u", {"group_vars/all.yml": "kube_version: 1.35.0\n"})
    items = [thing for thing in scan(checkout, f"inventory={unknown}") if isinstance(thing, Item)]
    assert [item.what for item in items] == ["file of .downloads.etcd"]


def test_what_is_no_checkout_is_an_error(checkout: Path, tmp_path: Path) -> None:
    for root, query in ((tmp_path, ""), (checkout, "inventory=gone"), (checkout, "arch=z80"), (checkout, "all=x")):
        with pytest.raises(UsageError):
            scan(root, query)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ 'a.b' | split('.') }}", ["a", "b"]),
        ("{{ [[1], [2, [3]]] | flatten }}", [1, 2, 3]),
        ("{{ {'a': 1} | combine({'b': 2}) }}", {"a": 1, "b": 2}),
        ("{{ '1.10' }}", "1.10"),
        ("v{{ '1.10' }}", "v1.10"),
        ("{{ 'yes' | bool | ternary('on', 'off') }}", "on"),
        ("{{ '1.9' is version('1.10', '<') }}", True),
        ("{{ lookup('vars', 'na' + 'me') }}", "x"),
        ("{{ lookup('env', 'HOME') }}", ""),
        ("{{ missing | default(5) }}", 5),
    ],
)
def test_each_construct(template: str, value: object) -> None:
    assert Variables({"name": "x"}, {}).evaluate(template) == value


@pytest.mark.parametrize(
    "template",
    [
        "{{ a }}",
        "{{ missing }}",
        "{{ x |",
        "{% for %}",
        "{{ [].__class__.__mro__ }}",
        "{{ lookup('pipe', 'id') }}",
        "{{ range(10 ** 9) | list }}",
        "{{ 1 / 0 }}",
        "{{ {}['a'] }}",
        "{{ 'x' is version('1', '~') }}",
    ],
)
def test_faults_are_ours(template: str) -> None:
    with pytest.raises(EvaluationError):
        Variables({"a": "{{ b }}", "b": "{{ a }}"}, {}).evaluate(template)


def test_versions_are_compared_by_their_numbers() -> None:
    assert version_key("v1.10.2") > version_key("1.9")


@pytest.mark.skipif(not os.path.isdir(REAL), reason="ISTHMUS_KUBESPRAY_CHECKOUT names no checkout")
def test_a_real_checkout_leaves_nothing_open() -> None:
    found = names(scan(Path(REAL), f"inventory={REAL}/inventory/sample&arch=amd64&arch=arm64"))
    assert any("/pause:" in name for name in found)
    assert any(name.endswith("/arm64/kubelet") for name in found)
