"""The scripts that make Secrets, with the real kubectl; only its `apply`, which needs a cluster, is a recorder.

Also: every generated script is accepted by the shells that nodes have.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.site.output import write_files
from isthmus.site.parts import configure_parts
from isthmus.site.pki.authority import Authority, Settings
from isthmus.site.plan import Site
from tests.real.programs import output, require
from tests.site.conftest import guide as guide_fixture

pytestmark = pytest.mark.real

guide = guide_fixture

RECORDER = """#!/bin/sh
# A stand-in for `kubectl apply`: it writes down what it was given. Everything else is the real kubectl.
printf '%s\\n' "$*" >>"{log}"
if [ "$1" = apply ]; then cat >"{applied}"; else exec "{kubectl}" "$@"; fi
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, guide: Site) -> Path:
    out = tmp_path_factory.mktemp("site")
    for part in configure_parts(guide).values():
        write_files(part.files, out)
    return out


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    require("kubectl")
    programs = tmp_path / "bin"
    programs.mkdir()
    recorder = programs / "kubectl"
    recorder.write_text(
        RECORDER.format(log=tmp_path / "log", applied=tmp_path / "applied", kubectl=shutil.which("kubectl"))
    )
    recorder.chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "KUBECONFIG": "/dev/null"}


def applied(script: Path, environment: dict[str, str], *words: str | Path) -> dict[str, Any]:
    subprocess.run(["sh", script, *words], check=True, capture_output=True, env=environment, timeout=60)
    document: dict[str, Any] = yaml.safe_load((Path(environment["HOME"]) / "applied").read_text())
    return document


def test_cert_managers_secret(written: Path, environment: dict[str, str], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki", Settings("site"))
    authority.create()
    secret = applied(written / "cert-manager/create-secret.sh", environment, tmp_path / "pki")
    issuer = yaml.safe_load((written / "cert-manager/issuer.yaml").read_text())
    assert secret["metadata"]["name"] == issuer["spec"]["ca"]["secretName"]
    assert (secret["metadata"]["namespace"], secret["type"]) == ("cert-manager", "kubernetes.io/tls")
    assert base64.b64decode(secret["data"]["tls.key"]) == (tmp_path / "pki/issuing.key").read_bytes()
    assert base64.b64decode(secret["data"]["tls.crt"]) == (tmp_path / "pki/issuing.pem").read_bytes()


def test_the_pull_secret_whose_password_is_in_no_argument(
    written: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text('node:pa:ss"word\n')
    secret = applied(written / "ck8s/create-pull-secret.sh", environment, tmp_path / "credentials", "trivy")
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("pull-secret", "trivy")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    document = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    entry = document["auths"]["registry.air-gapped.internal"]
    assert base64.b64decode(entry["auth"]) == b'node:pa:ss"word'
    assert "pa:ss" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_shells_accept_every_script(written: Path, shell: str) -> None:
    require(shell)
    words = ["busybox", "sh"] if shell == "busybox" else [shell]
    scripts = sorted(written.rglob("*.sh"))
    assert len(scripts) > 8
    for script in scripts:
        output(*words, "-n", script)
        assert os.access(script, os.X_OK), script
