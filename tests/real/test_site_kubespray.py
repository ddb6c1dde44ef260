"""containerd pulls through what kubespray writes from the generated group_vars, with the site's CA and a user.

Kubespray's role is simulated and named so: `SimulatedKubespray` renders nested variables as Ansible does, and
hosts.toml as roles/container-engine/containerd/templates/hosts.toml.j2 of kubespray 2.28 has it.
"""

import base64
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import pytest
import yaml

from isthmus.inventory.config import Config
from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Digest
from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site
from tests.real import test_site_runtimes
from tests.real.containerd import Containerd
from tests.real.programs import ProgramFailed
from tests.real.test_site_runtimes import NAMES, Running

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.slow]

running = test_site_runtimes.running
with_users = test_site_runtimes.with_users

HOSTS_TOML = """\
server = "{{ item.server | default("https://" + item.prefix) }}"
{% for mirror in item.mirrors %}
[host."{{ mirror.host }}"]
  capabilities = ["{{ ([ mirror.capabilities ] | flatten ) | join('","') }}"]
  skip_verify = {{ mirror.skip_verify | default('false') | string | lower }}
  override_path = {{ mirror.override_path | default('false') | string | lower }}
{% if mirror.ca is defined %}
  ca = ["{{ ([ mirror.ca ] | flatten ) | join('","') }}"]
{% endif %}
{% if mirror.header is defined %}
  [host."{{ mirror.host }}".header]
{% for key, value in mirror.header.items() %}
    {{ key }} = ["{{ ([ value ] | flatten ) | join('","') }}"]
{% endfor %}
{% endif %}
{% endfor %}
"""


@dataclass(frozen=True)
class SimulatedKubespray:
    """A simulator of Ansible's templates and of kubespray's task "Write hosts.toml file"; it runs no play."""

    variables: Mapping[str, Any]

    @property
    def _environment(self) -> jinja2.Environment:
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
        environment.globals["lookup"] = self._lookup
        environment.filters["b64encode"] = lambda text: base64.b64encode(text.encode()).decode()
        environment.filters["flatten"] = lambda items: [
            one for item in items for one in (item if isinstance(item, list) else [item])
        ]
        return environment

    @staticmethod
    def _lookup(kind: str, name: str) -> str:
        assert kind == "env"
        return os.environ.get(name, "")

    def value(self, item: Any) -> Any:
        """A value with everything in it that is a template rendered, as often as it takes."""
        if isinstance(item, list):
            return [self.value(one) for one in item]
        if isinstance(item, dict):
            return {key: self.value(one) for key, one in item.items()}
        while isinstance(item, str) and "{{" in item:
            item = self._environment.from_string(item).render(self.variables)
        return item

    def write(self, certs: Path) -> None:
        """`certs.d/PREFIX/hosts.toml` for each mirror."""
        for item in self.value(self.variables["containerd_registries_mirrors"]):
            directory = certs / item["prefix"]
            directory.mkdir(parents=True)
            text = self._environment.from_string(HOSTS_TOML).render(item=item)
            (directory / "hosts.toml").write_text(text)


def kubespray(site: Site) -> SimulatedKubespray:
    (file,) = (
        file
        for file in configure_parts(site, ["kubespray"])["kubespray"].files
        if file.path.endswith("isthmus.yml")
    )
    return SimulatedKubespray(yaml.safe_load(file.content))


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_REGISTRY_USER", "node")
    monkeypatch.setenv("SITE_REGISTRY_PASSWORD", "pass:word")


def site_of(running: Running, ca: Path) -> Site:
    section = msgspec.convert({"site": {"registry": {"pull_secret": "site"}}}, Config)
    entries = [
        LockEntry(kind="image", name=name, digest=Digest(digest), size=1)
        for name, digest in running.digests.items()
    ]
    return Site(
        section, f"https://{running.address}", MirrorMap(), tuple(entries), ca_path=str(ca), ca=ca.read_bytes()
    )


def test_containerd_pulls_through_kubesprays_files(
    with_users: None,
    user: None,
    running: Running,
    containerd_in_namespace: Containerd,
    tmp_path: Path,
) -> None:
    certs = tmp_path / "certs.d"
    played = kubespray(site_of(running, tmp_path / "pki" / "ca.pem"))
    played.write(certs)
    for path in certs.glob("*/hosts.toml"):
        assert tomllib.loads(path.read_text())["server"] == f"https://{running.address}"  # never the upstream
    for name in NAMES:
        assert containerd_in_namespace.pull(name, certs) == running.digests[name]
    # kubeadm asks for names inside: kube_image_repo is where the pause image is.
    inside = played.value("{{ pod_infra_image_repo }}").replace("/pause", "/isthmus-demo-pause")
    assert containerd_in_namespace.pull(f"{inside}:3.10", certs) == running.digests[NAMES[2]]
    with pytest.raises(ProgramFailed) as refused:
        containerd_in_namespace.pull("quay.io/isthmus-demo/nothing:1", certs)
    # The template has no CA for `server`, whose error containerd tells rather than the mirror's 404.
    assert f"https://{running.address}/v2/isthmus-demo/nothing" in refused.value.complaint
    assert "x509" in refused.value.complaint
    assert "//quay.io" not in refused.value.complaint  # nobody was looked for outside


def test_a_wrong_password_is_refused(
    with_users: None,
    user: None,
    running: Running,
    containerd_in_namespace: Containerd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SITE_REGISTRY_PASSWORD", "other")
    kubespray(site_of(running, tmp_path / "pki" / "ca.pem")).write(tmp_path / "certs.d")
    with pytest.raises(ProgramFailed, match=r"401|403|unauthorized|authorization"):
        containerd_in_namespace.pull(NAMES[0], tmp_path / "certs.d")
