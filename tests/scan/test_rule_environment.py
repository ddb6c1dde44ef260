from collections.abc import Callable

import pytest

Container = Callable[[str], dict[str, str]]


def variable(name: str, value: str) -> str:
    return f'env: [{{name: {name}, value: "{value}"}}]'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELATED_IMAGE_NODE", "quay.io/a/b:1"),
        ("RELATED_IMAGE_UPDATE_JOB", "quay.io/a/b:1"),
        ("DRIVER_MANAGER_IMAGE", "quay.io/a/b:1"),
        ("IMPORTER_IMAGE", "quay.io/a/b"),
        ("SOMETHING", "quay.io/a/b:1"),
        ("POSTGRES_IMAGE_NAME", "a/b:1"),
    ],
)
def test_images_in_variables(container: Container, name: str, value: str) -> None:
    (found,) = container(variable(name, value)).items()
    assert found[1] == "likely"
    assert found[0].startswith(("quay.io/a/b", "docker.io/a/b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGE_PULL_POLICY", "Always"),
        ("IMAGE_PULL_SECRETS", "registry"),
        ("IMAGE_REGISTRY", "quay.io"),
        ("ALLOWED_IMAGES", "quay.io/a/b:1"),
        ("LISTEN", "0.0.0.0:80"),
        ("BROKER", "kafka:9092"),
        ("OS_IMAGE", "ubuntu"),
        ("ADDRESS", "http://quay.io/a/b:1"),
    ],
)
def test_what_is_none(container: Container, name: str, value: str) -> None:
    assert not [name for name, how in container(variable(name, value)).items() if not how.startswith("possible")]


def test_a_bare_word_is_possible_only(container: Container) -> None:
    assert container(variable("SIDECAR_IMAGE", "busybox")) == {"docker.io/library/busybox:latest": "possible"}


def test_lists(container: Container) -> None:
    fields = "env:\n- name: KAFKA_IMAGES\n  value: |\n    3.8.0=quay.io/k/k:1-3.8\n    3.9.0=quay.io/k/k:1-3.9\n"
    assert container(fields) == {"quay.io/k/k:1-3.8": "likely", "quay.io/k/k:1-3.9": "likely"}


def test_split(container: Container) -> None:
    fields = (
        "env: [{name: WORKER_IMAGE_REPOSITORY, value: quay.io/a/b}, {name: WORKER_IMAGE_TAG, value: v1}, "
        "{name: OTHER_TAG, value: v2}]"
    )
    assert container(fields) == {"quay.io/a/b:v1": "likely"}
