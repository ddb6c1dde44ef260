"""Where the guide's text does not work with Compliant Kubernetes of today: we write the working form, or refuse
with the reason. Each test names the line of the guide."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

pytest.importorskip("ruamel.yaml")

from isthmus.inventory.lock import LockEntry
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.site_config import FilesSection, NodesSection
from isthmus.oci import Digest
from isthmus.scan.yaml_reader import parse_all
from isthmus.site.ck8s.part import configure
from isthmus.site.plan import Decision, Site

DIGEST = Digest("sha256:" + "1" * 64)


def files(site: Site) -> dict[str, Any]:
    return {
        file.path.removeprefix("ck8s/").removesuffix("-config.yaml"): parse_all(file.content.decode(), "t")[0]
        for file in configure(site).files
        if file.path.endswith("-config.yaml")
    }


def decisions(site: Site) -> list[Decision]:
    return [item for item in configure(site).decisions if "on-call" not in item.key]


def changed(site: Site, **sections: Any) -> Site:
    return replace(
        site,
        config=msgspec.structs.replace(site.config, site=msgspec.structs.replace(site.config.site, **sections)),
    )


def test_alerts_to_is_alert_to(guide: Site) -> None:
    """alertsTo: the schema refuses it."""
    alerts = files(guide)["sc"]["alerts"]
    assert alerts["alertTo"] == "email"
    assert "alertsTo" not in alerts


def test_kernels_from_5_8_take_the_driver_in_the_image(guide: Site) -> None:
    """kind: module and kind: modern-bpf are refused; modern_ebpf needs no download."""
    assert files(guide)["common"]["falco"]["driver"] == {"kind": "modern_ebpf"}
    assert files(changed(guide, nodes=NodesSection()))["common"]["falco"]["driver"] == {"kind": "modern_ebpf"}


@pytest.mark.parametrize("kernel", ["5.4", "4.18.0-553.el8", "5.7.19"])
def test_older_kernels_take_kmod_and_the_broken_address_is_explained(guide: Site, kernel: str) -> None:
    """module.repoURL: set as FALCOCTL_DRIVER_NAME, so that it is not written and the reason is given."""
    site = changed(guide, nodes=NodesSection(kernel=kernel))
    assert files(site)["common"]["falco"]["driver"] == {"kind": "kmod"}
    assert any("FALCOCTL_DRIVER_REPOS" in item.why for item in decisions(site))


def test_custom_indexes_are_objects_with_a_scheme(guide: Site) -> None:
    """customIndexes: [fileserver:8080/…] is neither an object nor a URL."""
    index = LockEntry(kind="file", name="x#inside", digest=DIGEST, serve="falcoctl/index.yaml")
    section = msgspec.structs.replace(guide.config.site.ck8s, falco_artifacts=True)
    site = replace(changed(guide, ck8s=section), entries=(*guide.entries, index))
    falco = files(site)["common"]["falco"]
    assert falco["artifact"]["install"]["enabled"] is True
    assert falco["customIndexes"] == [
        {"name": "site", "url": "http://fileserver.air-gapped.internal:8080/falcoctl/index.yaml"}
    ]
    plugins = files(site)["common"]["networkPolicies"]["falco"]["plugins"]
    assert plugins == {"ips": ["10.65.131.137/32", "10.65.131.138/32"], "ports": [443, 8080]}


def test_falcos_artifacts_stay_off_without_an_index(guide: Site) -> None:
    falco = files(guide)["common"]["falco"]
    assert falco["artifact"]["install"]["enabled"] is False
    assert "customIndexes" not in falco


def test_plugins_have_a_scheme_and_opensearchs_version(guide: Site) -> None:
    """additionalPlugins: fileserver:8080/x.zip is an unknown protocol to OpenSearch; 2.8.0 is not the image's."""
    plugins = files(guide)["sc"]["opensearch"]["plugins"]
    assert plugins["additionalPlugins"] == [
        "http://fileserver.air-gapped.internal:8080/opensearch/repository-s3-2.19.4.zip"
    ]


def test_a_plugin_of_another_version_is_refused(guide: Site) -> None:
    url = "https://artifacts.opensearch.org/releases/plugins/repository-s3/2.8.0/repository-s3-2.8.0.zip"
    others = tuple(entry for entry in guide.entries if entry.kind != "file")
    site = replace(guide, entries=(*others, LockEntry(kind="file", name=url, digest=DIGEST, serve="r.zip")))
    assert any("another version than OpenSearch's image, 2.19.4" in item.why for item in decisions(site))


def test_a_missing_plugin_is_named_with_its_address(guide: Site) -> None:
    site = replace(guide, entries=tuple(entry for entry in guide.entries if entry.kind != "file"))
    assert any("repository-s3/2.19.4/repository-s3-2.19.4.zip" in item.hint for item in decisions(site))


def test_trivys_repositories_have_no_tag_and_are_where_the_registry_has_them(guide: Site) -> None:
    """dbRepository: aquasecurity/trivy-db is not where the mapping puts it."""
    scanner = files(guide)["common"]["trivy"]["scanner"]
    assert scanner["dbRegistry"] == "registry.air-gapped.internal"
    assert scanner["dbRepository"] == "mirror/ghcr.io/aquasecurity/trivy-db"
    assert scanner["javaDbRepository"] == "mirror/ghcr.io/aquasecurity/trivy-java-db"


def test_missing_databases_are_decisions(guide: Site) -> None:
    site = replace(guide, entries=tuple(entry for entry in guide.entries if "trivy-db" not in entry.name))
    assert any("the lock has no trivy-db" in item.why for item in decisions(site))


def test_trivy_mirrors_more_hosts_than_the_guides_five(guide: Site) -> None:
    mirrors = files(guide)["common"]["trivy"]["scanner"]["registry"]["mirror"]
    assert {"mirror.gcr.io", "xpkg.crossplane.io", "index.docker.io"} <= set(mirrors)


def test_harbors_own_trivy_is_told_too(guide: Site) -> None:
    variables = {item["name"]: item["value"] for item in files(guide)["sc"]["harbor"]["trivy"]["extraEnvVars"]}
    assert variables["SCANNER_TRIVY_DB_REPOSITORY"] == (
        "registry.air-gapped.internal/mirror/ghcr.io/aquasecurity/trivy-db"
    )
    assert variables["SCANNER_TRIVY_OFFLINE_SCAN"] == "true"


def test_images_are_not_rewritten(guide: Site) -> None:
    """A registry with a port corrupts references silently, and rules rely on upstream's names."""
    for document in files(guide).values():
        assert "images" not in document


def test_trivys_policy_has_a_single_port_of_its_own_place(guide: Site) -> None:
    """There is no networkPolicies.trivy."""
    policies = files(guide)["common"]["networkPolicies"]
    assert policies["global"]["trivy"] == {"ips": ["10.65.131.138/32"], "port": 443}
    assert "trivy" not in policies


def test_no_list_of_networks_is_empty_where_that_would_open_everything(guide: Site) -> None:
    """A rule without peers lets everything through; only Let's Encrypt's is left out when empty."""
    site = changed(guide, files=FilesSection())

    def empty(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [found for key, item in value.items() for found in empty(item, f"{path}.{key}")]
        return [path] if value == [] and path.endswith(".ips") else []

    found = [path for name, document in files(site).items() for path in empty(document["networkPolicies"], name)]
    assert found == ["common.certManager.letsencrypt.ips"]
    assert files(site)["sc"]["networkPolicies"]["opensearch"]["plugins"]["ips"] == ["0.0.0.0/32"]


def test_networks_always_have_their_prefix_length(guide: Site) -> None:
    """The schema wants CIDRs."""

    def networks(value: Any) -> list[str]:
        if isinstance(value, dict):
            listed = value.get("ips", [])
            return [*listed, *(found for item in value.values() for found in networks(item))]
        return []

    found = [text for document in files(guide).values() for text in networks(document["networkPolicies"])]
    assert len(found) > 20
    assert all("/" in text for text in found)


def test_lets_encrypt_is_off_and_the_issuer_exists(guide: Site) -> None:
    """global.issuer must name a ClusterIssuer that somebody makes; the ACME servers are fixed in the chart."""
    common = files(guide)["common"]
    assert common["issuers"]["letsencrypt"]["enabled"] is False
    assert [issuer["metadata"]["name"] for issuer in common["issuers"]["extraIssuers"]] == [
        common["global"]["issuer"]
    ]


def test_node_local_dns_binds_where_the_main_block_does(guide: Site) -> None:
    text = files(guide)["common"]["nodeLocalDns"]["customConfig"]
    assert "bind 169.254.20.10 10.233.0.3\n" in text
    assert "forward . 10.65.131.137\n" in text


def test_a_registry_on_another_port_is_reported_since_trivys_rule_has_fixed_ports(guide: Site) -> None:
    site = replace(guide, registry="https://registry.air-gapped.internal:5000")
    assert any("allows ports 80 and 443 alone, not 5000" in item.why for item in decisions(site))
    policy = files(site)["common"]["networkPolicies"]["additional"]
    assert "port: 5000" in policy


def test_un_namespaced_names_under_the_flat_mapping_are_a_decision(guide: Site) -> None:
    """Harbor has no room for registry.k8s.io/pause at its root, and containerd cannot follow it into library/."""
    from isthmus.site.parts import configure_parts

    flat = replace(guide, mapping=MirrorMap("flat", ""))
    found = configure_parts(flat, ["containerd"])["containerd"].decisions
    assert len(found) == 1
    assert "registry.k8s.io/pause" in found[0].why
    assert not configure_parts(replace(guide, mapping=MirrorMap("flat", "mirror")), ["containerd"])[
        "containerd"
    ].decisions


def test_the_static_login_is_an_option(guide: Site) -> None:
    """The guide's demonstration signs in with a static user, which the flavour has switched off."""
    assert files(guide)["sc"]["dex"]["enableStaticLogin"] is True
    section = msgspec.structs.replace(guide.config.site.ck8s, static_login=False)
    assert "dex" not in files(changed(guide, ck8s=section))["sc"]
