"""The Kubernetes Jobs of a sharded copy: valid, deterministic, without secrets, and their commands really copy.

Validity is checked against the models of the official client, which are generated from the published OpenAPI
schema: unknown keys and wrong types fail. kubectl is a stand-in that keeps what it is given.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.cli.main import run
from isthmus.errors import UsageError
from isthmus.inventory.lock import read_lock
from isthmus.registry import connect
from isthmus.transfer.kubernetes import LARGEST_CONFIG_MAP, Secrets, ShardedCopy, objects
from tests.real import docker_registry, programs
from tests.real.docker_registry import DockerRegistry
from tests.registry.samples import options
from tests.transfer.images import API, SHARED, WEB, fill

SECRET = "secret-that-nobody-may-see"
COPY = ShardedCopy(
    image="registry.site/isthmus:1",
    arguments=("--to", "registry.site", "--jobs", "8"),
    shards=3,
    lock="version: 1\nreferences: []\n",
    files={"isthmus.yaml": "{}\n", "ca.pem": "…"},
    secrets=Secrets("registries", ("QUAY_AUTH",), ("registry.site.auth",)),
    namespace="isthmus",
)
CONFIG = """
platform:
  registries:
    quay.io: {auth: "env:QUAY_AUTH", ca: quay.pem}
    mirror.site: {client_certificate: mirror.crt, client_key: mirror.key}
site:
  registry: {host: "registry.site:5000", auth: "file:secret", ca: site/quay.pem}
"""


def container(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("claim", ["", "locks"])
def test_the_objects_are_what_the_published_schema_allows(claim: str) -> None:
    client = pytest.importorskip("kubernetes.client")
    import msgspec

    for one in objects(msgspec.structs.replace(COPY, claim=claim)):
        model = {"Job": client.V1Job, "ConfigMap": client.V1ConfigMap}[one["kind"]]
        check_model(client, model, one, one["kind"])


def check_model(client: Any, model: Any, value: Any, path: str) -> None:
    known = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    assert isinstance(value, dict), path
    for key, item in value.items():
        assert key in known, f"there is no {path}.{key}"
        check_type(client, known[key], item, f"{path}.{key}")
    config = client.Configuration()
    assert config.client_side_validation
    # Building the model checks what is required.
    model(**{attribute: value[name] for attribute, name in model.attribute_map.items() if name in value})


def check_type(client: Any, kind: str, value: Any, path: str) -> None:
    for new, old in (("Dict[", "dict("), ("List[", "list[")):
        kind = kind.replace(new, old)
    if kind.startswith("list["):
        assert isinstance(value, list), path
        for index, item in enumerate(value):
            check_type(client, kind[5:-1], item, f"{path}[{index}]")
    elif kind.startswith("dict("):
        assert isinstance(value, dict), path
        for key, item in value.items():
            check_type(client, kind[5:-1].split(", ", 1)[1], item, f"{path}.{key}")
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{path} is {value!r} instead of {kind}"
    else:
        check_model(client, getattr(client, kind), value, path)


def test_an_indexed_job_and_a_finishing_one_that_may_do_nothing_else() -> None:
    config, moving, finishing = objects(COPY)
    assert config["immutable"] is True
    spec = moving["spec"]
    assert (spec["completionMode"], spec["completions"], spec["backoffLimitPerIndex"]) == ("Indexed", 3, 3)
    assert "$(ISTHMUS_SHARD)/3" in container(moving)["args"]
    assert "--finish" in container(finishing)["args"]
    for job in (moving, finishing):
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        secured = container(job)["securityContext"]
        assert secured["readOnlyRootFilesystem"] is True
        assert secured["allowPrivilegeEscalation"] is False
        assert secured["capabilities"] == {"drop": ["ALL"]}
        assert container(job)["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
        mounted = {mount["name"] for mount in container(job)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_same_input_has_the_same_name_and_another_input_another() -> None:
    import msgspec

    assert objects(COPY) == objects(COPY)
    others: list[dict[str, Any]] = [{"lock": "version: 1\n"}, {"shards": 4}, {"image": "x"}, {"arguments": ()}]
    changed = [msgspec.structs.replace(COPY, **change) for change in others]
    names = {objects(one)[0]["metadata"]["name"] for one in (COPY, *changed)}
    assert len(names) == 5
    assert all(len(name) <= 50 for name in names), "pods add to it"


def test_a_lock_that_does_not_fit_goes_on_a_volume() -> None:
    import msgspec

    large = msgspec.structs.replace(COPY, lock="#" * LARGEST_CONFIG_MAP)
    with pytest.raises(UsageError) as caught:
        objects(large)
    assert "--lock-claim" in caught.value.hint
    config, moving, _ = objects(msgspec.structs.replace(large, claim="locks"))
    assert "isthmus.lock" not in config["data"]
    assert "/run/isthmus/lock/isthmus.lock" in container(moving)["args"]


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "isthmus.yaml").write_text(CONFIG)
    (tmp_path / "isthmus.lock").write_text("version: 1\nreferences: []\n")
    (tmp_path / "quay.pem").write_text("certificate of quay\n")
    (tmp_path / "site" / "quay.pem").write_text("certificate of the site\n")
    for name in ("secret", "mirror.key", "mirror.crt"):
        (tmp_path / name).write_text(f"u:{SECRET}\n")
    monkeypatch.setenv("QUAY_AUTH", f"u:{SECRET}")
    return tmp_path


def test_secrets_are_named_and_never_contained(platform: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["mirror", "--to", "registry.site:5000", "--kubernetes", "--shards", "2"]) == 0
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err
    for key in ("QUAY_AUTH", "registry.site_5000.auth", "mirror.site.key", "mirror.site.crt"):
        assert key in shown.err
    config, moving, _ = yaml.safe_load_all(shown.out)
    inside = json.loads(config["data"]["isthmus.yaml"])
    assert inside["site"]["registry"]["auth"] == "file:/run/isthmus/credentials/registry.site_5000.auth"
    assert inside["platform"]["registries"]["quay.io"]["auth"] == "env:QUAY_AUTH"
    assert config["data"]["quay.pem"] == "certificate of quay\n"
    assert config["data"]["_quay.pem"] == "certificate of the site\n"
    variables = {one["name"]: one for one in container(moving)["env"]}
    assert variables["QUAY_AUTH"]["valueFrom"]["secretKeyRef"]["name"] == "isthmus-registries"
    assert run(["mirror", "--to", "registry.site:5000", "--kubernetes", "--shards", "2"]) == 0
    assert capfd.readouterr().out == shown.out, "same input, same bytes"


def test_kubectl_is_given_the_same(
    platform: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (platform / "bin").mkdir()
    stand_in = platform / "bin" / "kubectl"
    stand_in.write_text('#!/bin/sh\n[ "$*" = "apply -f -" ] && cat > applied.yaml\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{platform / 'bin'}:/usr/bin:/bin")
    mirror = ["mirror", "--to", "registry.site:5000", "--kubernetes"]
    assert run([*mirror, "--apply", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["applied"]) == 3
    assert run(mirror) == 0
    assert yaml.safe_load_all(capfd.readouterr().out)
    assert len(list(yaml.safe_load_all((platform / "applied.yaml").read_text()))) == 3
    stand_in.write_text("#!/bin/sh\necho 'error: no cluster' >&2\nexit 1\n")
    assert run([*mirror, "--apply", "--json"]) == 5
    assert "no cluster" in json.loads(capfd.readouterr().out)["error"]["message"]
    monkeypatch.setenv("PATH", str(platform))
    assert run([*mirror, "--apply", "--json"]) == 2


def test_what_cannot_be_together(platform: Path) -> None:
    for more in (["images:x"], ["--shard", "0/2"], ["--finish"]):
        assert run(["mirror", "--to", "registry.site", "--kubernetes", *more]) == 2


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    programs.require("docker-registry")
    started = docker_registry.start(tmp_path / "registry")
    yield started
    started.stop()


@pytest.mark.real
def test_the_containers_commands_copy_everything(
    tmp_path: Path, registry: DockerRegistry, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The arguments and variables of every pod, with its mounts in a directory instead of /run/isthmus."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "store")
    assert run(["push", "--store", "store", "--to", f"{registry.address}/up", "-q"]) == 0
    Path("list.txt").write_text(f"{WEB}\n{API}\n{SHARED}\n")
    upstream = [f"--upstream={h}={registry.url}/up/{h}" for h in ("docker.io", "quay.io", "ghcr.io")]
    assert run(["lock", "images:list.txt", "-q", *upstream]) == 0
    capfd.readouterr()
    assert run(["mirror", "--to", registry.address, "--kubernetes", "--shards", "3", *upstream]) == 0
    config, moving, finishing = yaml.safe_load_all(capfd.readouterr().out)
    mounted = tmp_path / "mounted"
    (mounted / "config").mkdir(parents=True)
    for name, content in config["data"].items():
        (mounted / "config" / name).write_text(content)
    assert pod(finishing, mounted, {}) == 3, "not there yet"
    for index in range(3):
        assert pod(moving, mounted, {"ISTHMUS_SHARD": str(index)}) == 0
    assert pod(finishing, mounted, {}) == 0
    with connect(registry.address, options()) as client:
        for entry in read_lock("isthmus.lock").references:
            repository, _, tag = entry.name.rpartition(":")
            found = client.manifest_digest(f"mirror/{repository}", tag)
            assert found is not None
            assert found.digest == entry.digest


def pod(job: dict[str, Any], mounted: Path, variables: dict[str, str]) -> int:
    arguments = []
    for text in container(job)["args"]:
        for name, value in variables.items():
            text = text.replace(f"$({name})", value)
        arguments.append(text.replace("/run/isthmus", str(mounted)).replace("/tmp/isthmus", str(mounted / "work")))
    environment = {**os.environ, **variables, "DOCKER_CONFIG": str(mounted / "docker")}
    return subprocess.run([sys.executable, "-m", "isthmus", *arguments], env=environment, check=False).returncode
