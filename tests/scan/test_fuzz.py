"""Fuzzing: whatever goes in, only our errors come out, and items and references are well-formed.

ISTHMUS_FUZZ_SECONDS=60 fuzzes for about a minute; without it for some seconds.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.errors import IsthmusError
from isthmus.inventory.config_file import parse_config
from isthmus.inventory.lock import parse_lock
from isthmus.oci import Reference
from isthmus.scan.document import Document
from isthmus.scan.embedded import trees_in
from isthmus.scan.recognise import Look, look
from isthmus.scan.run import scan_documents
from isthmus.scan.source import SourceSpec
from isthmus.scan.words import names_image
from isthmus.scan.yaml_reader import parse_all

SECONDS = float(os.environ.get("ISTHMUS_FUZZ_SECONDS", "0"))
BUDGET = settings(
    max_examples=max(150, int(SECONDS * 30)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)

WORDS = """
apiVersion kind metadata name namespace annotations spec template containers initContainers image images args
command env value valueFrom data stringData repository registry tag digest version hub enabled items volumes
reference artifact install refs indexes url acme server connectors type config receivers slack_configs api_url
steps package grafana.ini falcoctl.yaml default-url default-revision helm.sh/hook verifyImages rekor chart
source repoURL sources group names versions schema openAPIV3Schema properties additionalProperties description
"""
KEYS = st.sampled_from(WORDS.split())
TEXTS = st.one_of(
    st.sampled_from(
        [
            "v1",
            "apps/v1",
            "Pod",
            "Deployment",
            "ConfigMap",
            "Secret",
            "List",
            "CustomResourceDefinition",
            "argoproj.io/v1",
            "Application",
            "tekton.dev/v1",
            "Pipeline",
            "monitoring.coreos.com/v1",
            "Prometheus",
            "quay.io/a/b:1",
            "nginx",
            "--image=quay.io/a/b:1",
            "-image",
            "https://x.example.dev/y.zip",
            "oci://r.io/a",
            "a: [{image: q.io/a:1}]\nb: c",
            '{"image": "q.io/a/b:1"}',
            "curl https://[::1",
            "https://[",
            "ntp.org",
            "opensearch-plugin install x",
            "$(params.x)",
            "{{ x }}",
            "cGFzcw==",
            "docker.io/tigera/operator:v1.36.5",
        ]
    ),
    st.text(max_size=30),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 10**6), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=8)), inner, max_size=6)
    ),
    max_leaves=30,
)


def error_of(function: Callable[[], object]) -> IsthmusError | None:
    try:
        function()
    except IsthmusError as error:
        return error
    return None


@BUDGET
@given(VALUES)
def test_any_object(value: Any) -> None:
    inventory = scan_documents([Document("fuzz", value)])
    for ref in inventory.references:
        if ref.kind in ("image", "artifact"):
            assert str(Reference.parse(ref.name)) == ref.name
        assert ref.findings
    for endpoint in inventory.endpoints:
        assert endpoint.purpose
        assert endpoint.advice
    assert scan_documents([Document("fuzz", value)]) == inventory


@BUDGET
@given(st.one_of(st.text(alphabet="-:[]{}#&*!|>'\"%@`,? \t\nab01.~<=\\$", max_size=200), st.text(max_size=60)))
def test_any_text(text: str) -> None:
    for parse in (parse_all, lambda text, where: list(trees_in(text, where))):
        error = error_of(lambda parse=parse: parse(text, "fuzz.yaml"))  # type: ignore[misc]
        assert error is None or (error.code == "invalid-input" and error.where.startswith("fuzz.yaml:"))


@BUDGET
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_no_configuration_and_no_lock(data: bytes) -> None:
    lock, config = error_of(lambda: parse_lock(data)), error_of(lambda: parse_config(data))
    assert lock is not None
    assert lock.code == "invalid-lock"
    assert config is None or config.code == "invalid-config"


@BUDGET
@given(st.text(max_size=80))
def test_any_name(text: str) -> None:
    names_image(text)
    if look(text) is not Look.NONE:
        Reference.parse(text.strip().removeprefix("docker://").removeprefix("oci://"))
    for kind in ("", "helm:", "manifests:"):
        error = error_of(lambda kind=kind: SourceSpec.parse(kind + text))  # type: ignore[misc]
        assert error is None or error.code == "invalid-source"
