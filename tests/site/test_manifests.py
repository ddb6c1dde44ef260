"""Generated manifests of Kubernetes' own kinds, by the published OpenAPI as the Python client's models have it.

Every key has to be known, every value of its type, and what is required there. Custom resources (cert-manager,
trust-manager, the Prometheus operator, OpenShift, Cluster API) have schemas of their own, which are not here: of
those only that they are what `kubectl` takes at all.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from isthmus.site.parts import configure_parts
from isthmus.site.plan import Site

models = pytest.importorskip("kubernetes.client.models")

KINDS = {"NetworkPolicy": "V1NetworkPolicy", "ConfigMap": "V1ConfigMap"}
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
SCALARS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "object": (str, int)}


def problems(value: Any, wanted: str, where: str) -> Iterator[str]:
    """What is wrong with a value that should be of that type of the OpenAPI."""
    if listed := re.fullmatch(r"[Ll]ist\[(.*)\]", wanted):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for number, one in enumerate(value):
            yield from problems(one, listed[1], f"{where}[{number}]")
    elif mapped := re.fullmatch(r"[Dd]ict[(\[]str, (.*)[)\]]", wanted):
        if not isinstance(value, dict):
            yield f"{where} is no mapping"
            return
        for key, one in value.items():
            yield from problems(one, mapped[1], f"{where}.{key}")
    elif wanted in SCALARS:
        if not isinstance(value, SCALARS[wanted]):
            yield f"{where} is no {wanted}"
    else:
        yield from _fields(value, getattr(models, wanted), where)


def _fields(value: Any, model: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no mapping"
        return
    known = {written: name for name, written in model.attribute_map.items()}
    for key, one in value.items():
        if key in known:
            yield from problems(one, model.openapi_types[known[key]], f"{where}.{key}")
        else:
            yield f"{where}.{key} is unknown"
    try:
        model(**{known[key]: one for key, one in value.items() if key in known})
    except ValueError as error:  # something required is missing
        yield f"{where}: {error}"


def manifests(site: Site) -> list[tuple[str, dict[str, Any]]]:
    files = [file for part in configure_parts(site).values() for file in part.files if file.path.endswith(".yaml")]
    documents = [(file.path, one) for file in files for one in yaml.safe_load_all(file.content)]
    return [
        (path, one) for path, one in documents if isinstance(one, dict) and {"apiVersion", "kind"} <= one.keys()
    ]


def test_kubernetes_own_kinds_follow_the_openapi(guide: Site) -> None:
    own = [(path, one) for path, one in manifests(guide) if one["kind"] in KINDS]
    assert {one["kind"] for _, one in own} == set(KINDS)
    for path, one in own:
        assert list(problems(one, KINDS[one["kind"]], path)) == []


def test_policies_name_ports_and_networks(guide: Site) -> None:
    policies = [one for _, one in manifests(guide) if one["kind"] == "NetworkPolicy"]
    names = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in policies]
    assert len(set(names)) == len(names)
    for policy in policies:
        for rule in policy["spec"]["egress"]:
            assert rule["to"], "an empty list would let everything through"
            assert rule["ports"], "an empty list would let everything through"


def test_all_have_names(guide: Site) -> None:
    for path, one in manifests(guide):
        if "/" in one["apiVersion"] and one["metadata"]["name"] != "NAME":
            assert NAME.fullmatch(one["metadata"]["name"]), path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"podSelector": {}, "policyTypes": "Egress"}}, "policyTypes is no list"),
        ({"spec": {"podSelector": {}, "egresss": []}}, "egresss is unknown"),
        ({"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": 1}}]}]}}, "cidr is no str"),
    ],
)
def test_the_check_finds_what_is_wrong(change: dict[str, Any], said: str) -> None:
    found = list(
        problems({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **change}, "V1NetworkPolicy", "x")
    )
    assert re.search(said, "\n".join(found))
