"""Harbor as a target, against a simulator of its project API in front of Debian's registry."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from isthmus.cli.main import run
from isthmus.errors import UsageError
from isthmus.transfer.harbor import projects_of
from tests.real import docker_registry, programs
from tests.real.docker_registry import DockerRegistry
from tests.registry.faults import Asked, FaultServer, Reply
from tests.transfer.harbor_simulator import ACCOUNTS, ADMIN, ROBOT, SYSTEM_ROBOT, HarborSimulator, Project
from tests.transfer.images import fill

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    programs.require("docker-registry")
    registry = docker_registry.start(tmp_path_factory.mktemp("behind"))
    yield registry
    registry.stop()


@pytest.fixture
def harbor(behind: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HarborSimulator]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    fill(tmp_path / "store", 10_000)
    with HarborSimulator(behind.address) as simulator:
        log_in(simulator, ADMIN, monkeypatch)
        yield simulator


def log_in(
    harbor: HarborSimulator, account: tuple[str, str], monkeypatch: pytest.MonkeyPatch, more: str = ""
) -> None:
    monkeypatch.setenv("HARBOR_AUTH", ":".join(account))
    Path("isthmus.yaml").write_text(
        f"site: {{registry: {{host: '{harbor.address}', kind: harbor, auth: 'env:HARBOR_AUTH'{more}}}}}\n"
    )


def push(harbor: HarborSimulator, *options: str, prefix: str = "") -> int:
    return run(["push", "--store", "store", "--to", f"{harbor.address}{prefix}", "--json", *options])


def failure(capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    shown = capfd.readouterr()
    for _, secret in ACCOUNTS:
        assert secret not in shown.out + shown.err
    error: dict[str, str] = json.loads(shown.out)["error"]
    return error


def test_a_private_project_is_made_once(harbor: HarborSimulator, capfd: pytest.CaptureFixture[str]) -> None:
    assert push(harbor) == 0
    assert harbor.projects["mirror"] == Project(used=harbor.projects["mirror"].used)
    assert "made the private project mirror" in capfd.readouterr().err
    assert push(harbor, prefix="/mirror/again") == 0
    assert len([line for line in harbor.asked("POST") if "projects" in line]) == 1
    assert "made" not in capfd.readouterr().err


def test_what_isthmus_yaml_says_of_new_projects(harbor: HarborSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(harbor, SYSTEM_ROBOT, monkeypatch, ", projects: {public: true, storage_limit: 1000000000}")
    assert push(harbor, prefix="/open") == 0
    assert (harbor.projects["open"].public, harbor.projects["open"].storage_limit) == (True, 1_000_000_000)


def test_flat_names_without_a_namespace_go_to_library(harbor: HarborSimulator, behind: DockerRegistry) -> None:
    from isthmus.registry import connect

    assert push(harbor, "--mapping", "flat") == 0
    assert set(harbor.projects) == {"library", "team"}
    with connect(behind.address) as registry:
        assert "1" in registry.tags("library/web")


def test_any_other_host_gets_no_projects(harbor: HarborSimulator, behind: DockerRegistry) -> None:
    assert run(["push", "--store", "store", "--to", f"{behind.address}/other", "-q"]) == 0
    assert not [line for line in harbor.asked() if "projects" in line]


def test_a_robot_that_may_not_is_told_what_to_do(
    harbor: HarborSimulator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log_in(harbor, ROBOT, monkeypatch)
    assert push(harbor, prefix="/new") == 5
    error = failure(capfd)
    assert error["code"] == "unauthorized"
    assert "make the project new in Harbor" in error["hint"]
    harbor.projects["new"] = Project()
    assert push(harbor, prefix="/new") == 0, "a robot of the project may push to it"


def test_a_full_project(harbor: HarborSimulator, capfd: pytest.CaptureFixture[str]) -> None:
    harbor.projects["full"] = Project(storage_limit=5000)
    assert push(harbor, prefix="/full") == 5
    error = failure(capfd)
    assert error["code"] == "quota-exceeded"
    assert "no room left" in error["message"]


def test_an_immutable_tag(harbor: HarborSimulator, capfd: pytest.CaptureFixture[str]) -> None:
    harbor.projects["fixed"] = Project(immutable={"3"})
    assert push(harbor, prefix="/fixed") == 5
    error = failure(capfd)
    assert error["code"] == "immutable-tag"
    assert "rule of the project" in error["hint"]


def test_wrong_credentials(
    harbor: HarborSimulator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log_in(harbor, ("admin", ROBOT[1]), monkeypatch)
    assert push(harbor) == 5
    assert failure(capfd)["code"] == "unauthorized"


def test_somebody_else_makes_it_meanwhile(harbor: HarborSimulator) -> None:
    def late(asked: Asked) -> Reply:
        harbor.projects["raced"] = Project()
        return Reply(404)

    harbor.spoil("HEAD", "/api/.*", late)
    assert push(harbor, prefix="/raced") == 0


def test_what_is_no_harbor(harbor: HarborSimulator, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultServer() as other:
        other.on("HEAD", "/api/.*", Reply(404))
        assert run(["push", "--store", "store", "--to", other.address, "--kind", "harbor", "--json"]) == 5
    assert "no API of Harbor" in failure(capfd)["message"]


@pytest.mark.parametrize("repository", ["nginx", "host__5000/x", "-a/x", "a..b/x", "A/x", "a" * 256 + "/x"])
def test_names_that_harbor_has_no_room_for(repository: str) -> None:
    with pytest.raises(UsageError):
        projects_of([repository])


def test_projects_are_the_first_part() -> None:
    assert projects_of(["b/x/y", "a/x", "b/z"]) == ("a", "b")
