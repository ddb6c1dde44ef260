"""registries.yaml as k3s and RKE2 read it: the first rewrite that matches, on the repository without its host.

`SimulatedWharfie` does what rancher/wharfie (pkg/registries, `rewrite`) and k3s' hosts.toml template do with a
mirror: endpoints in order, Go's regular expressions, and no endpoint of the upstream's own where
`disable-default-registry-endpoint` is set. It is a simulator; it pulls nothing.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from isthmus.inventory.mapping import MirrorMap
from isthmus.oci import Reference
from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site

MAPPINGS = [MirrorMap(), MirrorMap("prefix", ""), MirrorMap("flat", ""), MirrorMap("flat", "k8s")]


@dataclass(frozen=True)
class SimulatedWharfie:
    """A simulator of the client that k3s and RKE2 pull through."""

    registries: dict[str, Any]
    settings: dict[str, Any]

    def asked(self, reference: Reference) -> list[str]:
        """What is asked for an image, in order: URL and repository."""
        mirrors = self.registries["mirrors"]
        mirror = mirrors.get(reference.host) or mirrors.get("*") or {}
        found = [f"{url}/v2/{self._rewritten(mirror, reference.path)}" for url in mirror.get("endpoint", ())]
        if not self.settings.get("disable-default-registry-endpoint"):
            found.append(f"https://{reference.host}/v2/{reference.path}")
        return found

    @staticmethod
    def _rewritten(mirror: dict[str, Any], path: str) -> str:
        # Go has no order in its maps: whichever pattern comes first must not matter.
        matching = [(pattern, to) for pattern, to in mirror.get("rewrite", {}).items() if re.search(pattern, path)]
        assert len(matching) == 1, matching
        pattern, to = matching[0]
        return re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", to), path, count=1)


@pytest.mark.parametrize("name", ["k3s", "rke2"])
@pytest.mark.parametrize("mapping", MAPPINGS, ids=str)
def test_every_image_is_asked_of_the_site_alone(guide: Site, name: str, mapping: MirrorMap) -> None:
    site = replace(guide, mapping=mapping)
    files = {file.path: file.content for file in configure_parts(site, ["k3s"])["k3s"].files}
    client = SimulatedWharfie(
        yaml.safe_load(files[f"{name}/registries.yaml"]), yaml.safe_load(files[f"{name}/50-isthmus.yaml"])
    )
    for reference in site.references:
        assert client.asked(reference) == [f"{site.registry}/v2/{mapping.repository(reference)}"], str(reference)


def test_the_ca_is_where_the_installer_puts_it(guide: Site) -> None:
    files = {file.path: file.content.decode() for file in configure_parts(guide, ["k3s"])["k3s"].files}
    for name in ("k3s", "rke2"):
        configs = yaml.safe_load(files[f"{name}/registries.yaml"])["configs"]
        place = configs["registry.air-gapped.internal"]["tls"]["ca_file"]
        assert f"put isthmus-ca.crt {place} " in files[f"{name}/install.sh"]
