"""The real configuration, flavours and schemas of Compliant Kubernetes, where they are beside the project.

Every trap that the facts about it name has a test here or in test_traps.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus.scan.yaml_reader import parse_all
from isthmus.site.ck8s import part
from isthmus.site.ck8s.composed import CLUSTERS, Composed, compose
from isthmus.site.ck8s.part import check, configure, open_values
from isthmus.site.ck8s.placeholders import placeholders
from isthmus.site.ck8s.schema import violations
from isthmus.site.plan import Site

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "ck8s"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the configuration of Compliant Kubernetes is not here")
pytest.importorskip("jsonschema_rs")
pytest.importorskip("ruamel.yaml")


@pytest.fixture
def site(guide: Site) -> Site:
    return with_ck8s(guide, checkout=str(DATA))


def with_ck8s(site: Site, **changes: Any) -> Site:
    section = msgspec.structs.replace(site.config.site.ck8s, **changes)
    changed = msgspec.structs.replace(site.config.site, ck8s=section)
    return replace(site, config=msgspec.structs.replace(site.config, site=changed))


@pytest.fixture
def composed(site: Site) -> Composed:
    found = compose(site)
    assert found is not None
    return found


def texts(site: Site) -> dict[Any, str]:
    files = {file.path: file.content.decode() for file in configure(site).files}
    return {name: files[f"ck8s/{name}-config.yaml"] for name in ("common", "sc", "wc")}


def test_all_placeholders_of_a_fresh_air_gapped_configuration_are_found(composed: Composed) -> None:
    plain = {
        cluster: [found for found in placeholders(composed.cluster(cluster, {})) if not found.is_conditional]
        for cluster in CLUSTERS
    }
    assert len(plain["sc"]) == 34
    assert len(plain["wc"]) == 25
    # Those that the flavour brings, which the real tool never reports.
    keys = {found.key for found in plain["sc"]}
    assert {
        ".alerts.alertTo",
        ".global.issuer",
        ".trivy.scanner.dbRegistry",
        '.trivy.scanner.registry.mirror."gcr.io"',
    } <= keys
    assert ".opensearch.plugins.additionalPlugins[0]" in keys


def test_check_of_a_fresh_configuration_names_every_one_with_what_to_write(site: Site, composed: Composed) -> None:
    decisions = check(site)
    keys = {decision.key for decision in decisions}
    for cluster in CLUSTERS:
        assert {found.key.lstrip(".") for found in placeholders(composed.cluster(cluster, {}))} <= keys
    by_key = {decision.key: decision for decision in decisions}
    assert by_key["global.baseDomain"].hint == "give site.ck8s.base_domain in isthmus.yaml"
    assert by_key["global.baseDomain"].file == "common-config.yaml"
    assert by_key["harbor.oidc.adminGroupName"].file == "sc-config.yaml"
    assert by_key["user.namespaces[0]"].file == "wc-config.yaml"


def test_nothing_is_open_after_configure_and_both_schemas_pass(site: Site, composed: Composed) -> None:
    made = configure(site)
    left = [
        item for item in made.decisions if item.key != "site.alerts.receivers.on-call.auth"
    ]  # waived in the file
    assert [str(item) for item in left] == []
    overrides: dict[Any, Any] = {name: parse_all(text, name)[0] for name, text in texts(site).items()}
    for cluster in CLUSTERS:
        configuration = composed.cluster(cluster, overrides)
        assert placeholders(configuration) == ()
        assert list(violations(composed.checkout, configuration)) == []


def test_only_differences_are_written(site: Site) -> None:
    written = texts(site)
    # The flavour has these two so already.
    assert "offlineScanEnabled" not in written["common"]
    assert "installExternalObjectStoragePlugin" not in written["sc"]


def test_existing_overrides_keep_their_comments(site: Site, tmp_path: Path) -> None:
    former = "# kept by the operator\nglobal:\n  issuer: set-me # to do\nkured:\n  enabled: false # for now\n"
    (tmp_path / "common-config.yaml").write_text(former)
    common = texts(with_ck8s(site, config=str(tmp_path)))["common"]
    assert common.startswith("# kept by the operator\nglobal:\n")
    assert "  issuer: site-ca # to do\n" in common
    assert "  enabled: false # for now\n" in common
    assert (tmp_path / "common-config.yaml").read_text() == former


def test_an_incomplete_file_leaves_decisions_open(site: Site) -> None:
    bare = with_ck8s(site, base_domain=None, admins=type(site.config.site.ck8s.admins)())
    keys = {decision.key for decision in configure(bare).decisions}
    assert {"global.baseDomain", "clusterAdmin.users[0]", "grafana.ops.oidc.allowedDomains[0]"} <= keys


def test_values_of_the_users_own_are_written_and_validated(site: Site, composed: Composed) -> None:
    own = with_ck8s(
        site, values={"sc": {"harbor": {"gc": {"schedul": "typo"}}}, "common": {"kured": {"enabled": True}}}
    )
    decisions = [item for item in configure(own).decisions if item.key.startswith("harbor.gc")]
    assert len(decisions) == 1
    assert "schedul" in decisions[0].why
    assert "kured:\n  enabled: true" in texts(own)["common"]


def test_every_reference_is_reachable_through_the_mapping(site: Site) -> None:
    """Trivy's map, which speaks to registries itself, covers every host of the lock."""
    common = parse_all(texts(site)["common"], "common")[0]
    mirrors = common["trivy"]["scanner"]["registry"]["mirror"]
    assert set(mirrors) == {*site.hosts, "index.docker.io"}
    for host, mirror in mirrors.items():
        upstream = "docker.io" if host == "index.docker.io" else host
        assert mirror == f"registry.air-gapped.internal/mirror/{upstream}"


def test_open_values_are_the_parts_own_check(site: Site, composed: Composed) -> None:
    assert tuple(open_values(composed, texts(site))) == ()
    assert part.check(site) == tuple(open_values(composed, {"common": "", "sc": "", "wc": ""}))
