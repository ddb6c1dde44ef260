"""The alert rules that `configure` writes, for promtool: alone, in a prometheus.yml, and with time passing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site
from tests.real.programs import ProgramFailed, output, require
from tests.site.conftest import guide as guide_fixture

pytestmark = pytest.mark.real

guide = guide_fixture


def written(site: Site, out: Path) -> Path:
    write_files(configure_parts(site, ["alerts"])["alerts"].files, out)
    return out / "alerts"


def of_kind(site: Site, kind: str) -> Site:
    registry = msgspec.structs.replace(site.config.site.registry, kind=kind)
    section = msgspec.structs.replace(site.config.site, registry=registry)
    return replace(site, config=msgspec.structs.replace(site.config, site=section))


def alert(name: str, minutes: int, *labels: dict[str, str]) -> dict[str, Any]:
    return {
        "alertname": name,
        "eval_time": f"{minutes}m",
        "exp_alerts": [{"exp_labels": one} for one in labels],
    }


def series(what: str, values: str) -> dict[str, str]:
    labels = 'name="ghcr.io/aquasecurity/trivy-db:2",kind="artifact"'
    return {"series": f"isthmus_perishable_{what}{{{labels}}}", "values": values}


def test_a_database_grows_old_and_alerts_follow(guide: Site, tmp_path: Path) -> None:
    """Each minute makes it ten older: soon stale after 346, stale after 432, unknown when it is gone after 600."""
    require("promtool")
    alerts = written(guide, tmp_path)
    output("promtool", "check", "rules", alerts / "isthmus-rules.yaml")
    # Annotations are compared as well, so that only names and labels are left here.
    rules = yaml.safe_load((alerts / "isthmus-rules.yaml").read_text())
    for rule in rules["groups"][0]["rules"]:
        del rule["annotations"]
        assert rule["for"] == "1h"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    own = {"name": "ghcr.io/aquasecurity/trivy-db:2", "kind": "artifact"}
    tests = [
        alert("IsthmusPerishableSoonStale", 405),
        alert("IsthmusPerishableSoonStale", 408, {"severity": "info", **own}),
        alert("IsthmusPerishableStale", 490),
        alert("IsthmusPerishableStale", 495, {"severity": "warning", **own}),
        alert("IsthmusPerishableSoonStale", 495),
        alert("IsthmusPerishablesUnknown", 495),
        alert("IsthmusPerishablesUnknown", 670, {"severity": "warning"}),
    ]
    given = [
        series("age_seconds", "0+600x600"),
        series("max_age_seconds", "259200+0x600"),
        series("stale", "0+0x432 1+0x167"),
    ]
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": given, "alert_rule_test": tests}],
    }
    (tmp_path / "tests.yaml").write_text(json.dumps(document))
    output("promtool", "test", "rules", tmp_path / "tests.yaml")
    document["tests"][0]["alert_rule_test"] = [alert("IsthmusPerishableStale", 495)]  # type: ignore[index]
    (tmp_path / "tests.yaml").write_text(json.dumps(document))
    with pytest.raises(ProgramFailed, match="IsthmusPerishableStale"):  # the check above means something
        output("promtool", "test", "rules", tmp_path / "tests.yaml")


def test_prometheus_takes_rules_and_scrape_as_they_are(guide: Site, tmp_path: Path) -> None:
    require("promtool")
    alerts = written(of_kind(guide, "isthmus"), tmp_path)
    extra = yaml.safe_load((alerts / "isthmus-scrape.yaml").read_text())
    main = {"rule_files": ["isthmus-rules.yaml"], **extra}  # Debian's is older than scrape_config_files
    (alerts / "prometheus.yml").write_text(json.dumps(main))
    told = output("promtool", "check", "config", alerts / "prometheus.yml")
    assert "3 rules found" in told
    (scrape,) = extra["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["registry.air-gapped.internal"]}]
    assert scrape["scheme"] == "https"


def test_the_operators_rule_is_the_same(guide: Site, tmp_path: Path) -> None:
    alerts = written(of_kind(guide, "isthmus"), tmp_path)
    rule, scrape = yaml.safe_load_all((alerts / "prometheus-operator.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((alerts / "isthmus-rules.yaml").read_text())
    assert scrape["spec"]["tlsConfig"] == {"ca": {"configMap": {"name": "site-ca", "key": "ca.crt"}}}
    harbor = written(guide, tmp_path / "harbor")
    assert [one["kind"] for one in yaml.safe_load_all((harbor / "prometheus-operator.yaml").read_text())] == [
        "PrometheusRule"
    ]
    assert not (harbor / "isthmus-scrape.yaml").exists()
