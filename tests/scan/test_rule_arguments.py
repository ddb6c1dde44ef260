from collections.abc import Callable

import pytest

Container = Callable[[str], dict[str, str]]
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ('args: ["--acme-solver-image=quay.io/a/b:v1"]', "quay.io/a/b:v1"),
        ('args: ["--config-reloader=quay.io/a/b:v1"]', "quay.io/a/b:v1"),
        (f'args: ["-entrypoint-image", "ghcr.io/a/b:v1@{DIGEST}"]', f"ghcr.io/a/b:v1@{DIGEST}"),
        (f'args: ["-shell-image", "cgr.dev/a/b@{DIGEST}"]', f"cgr.dev/a/b@{DIGEST}"),
        ('args: ["--helper-image quay.io/a/b:17"]', "quay.io/a/b:17"),
        ('args: ["--helper-image", "busybox"]', "docker.io/library/busybox:latest"),
        ('command: [sh, -c, "exec app --sidecar-image=quay.io/a/b:1 --x"]', "quay.io/a/b:1"),
        ("command:\n- sh\n- -c\n- |\n  set -e\n  app \\\\\n    --worker-image quay.io/a/b:1\n", "quay.io/a/b:1"),
        ('args: ["--image=registry:5000/a/b:1"]', "registry:5000/a/b:1"),
        ('args: ["--set-image=worker=quay.io/a/b:1"]', "quay.io/a/b:1"),
        ('command: [sh, -c, "nerdctl -n k8s.io pull quay.io/a/b:1"]', "quay.io/a/b:1"),
    ],
)
def test_images_in_arguments(container: Container, fields: str, name: str) -> None:
    assert container(fields) == {name: "likely"}


@pytest.mark.parametrize(
    "fields",
    [
        'args: ["--image-pull-policy=IfNotPresent", "--default-image=true"]',
        'args: ["--listen=0.0.0.0:8080", "--upstream=app.ns.svc:8080/path:x"]',
        'args: ["--allowed-images=quay.io/a/b:1"]',
        'args: ["--register-with-taints=example.com/gpu:NoSchedule"]',
        'args: ["--default-backend-service=kube-system/default-http-backend:http"]',
        'args: ["--label=app.kubernetes.io/name:x", "--config=/etc/app/config.yaml"]',
        'args: [7, null, {a: b}, "--image", "--other"]',
        'args: ["--url=https://quay.io/a/b:1"]',
    ],
)
def test_what_is_none(container: Container, fields: str) -> None:
    assert container(fields) == {}


def test_conditions(container: Container) -> None:
    assert container('args: [-shell-image-win, "mcr.microsoft.com/powershell:x"]') == {
        "mcr.microsoft.com/powershell:x": "likely/conditional"
    }
    assert container('args: ["--thanos-default-base-image=quay.io/thanos/thanos:v1"]') == {
        "quay.io/thanos/thanos:v1": "likely/conditional"
    }
