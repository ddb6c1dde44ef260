"""The permissions in docs/ are those that the scan uses: no more, no fewer."""

from pathlib import Path
from typing import Any

import yaml

from isthmus.scan.cluster.discovery import WANTED

MANIFEST = Path(__file__).parents[2] / "docs" / "cluster-rbac.yaml"


def roles() -> dict[str, Any]:
    return {
        document["metadata"]["name"]: document["rules"]
        for document in yaml.safe_load_all(MANIFEST.read_text())
        if document["kind"] == "ClusterRole"
    }


def test_the_role_lists_what_discovery_wants() -> None:
    granted = {group: set(rule["resources"]) for rule in roles()["isthmus-scan"] for group in rule["apiGroups"]}
    assert granted == WANTED


def test_nothing_but_list_is_granted() -> None:
    assert {verb for rules in roles().values() for rule in rules for verb in rule["verbs"]} == {"list"}
