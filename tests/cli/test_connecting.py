"""What isthmus.yaml says of registries: which host gets which credentials, and that they are never seen."""

import json
from pathlib import Path

import pytest

from isthmus.cli.connecting import connection_options, host_options
from isthmus.cli.main import run
from isthmus.inventory.config_file import load_config, parse_config
from isthmus.registry import ConnectionOptions
from tests.real import docker_registry, programs

SECRET = "hunter2-of-the-site"
YAML = b"""
platform:
  registries:
    quay.io: {auth: "env:QUAY_AUTH", ca: quay.pem, mirrors: ["https://mirror.site/quay.io"]}
    mirror.site: {insecure: true, client_certificate: c.pem, client_key: k.pem, auth: "file:secret"}
    registry.site:5000: {ca: other.pem, plain_http: true}
site:
  registry: {host: "registry.site:5000", auth: "env:SITE_AUTH", ca: site.pem}
"""


def _options(host: str, *, ca: Path | None = None) -> ConnectionOptions:
    return host_options(connection_options(ca, False, False, 4), parse_config(YAML), host)


def test_each_host_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUAY_AUTH", f"u:{SECRET}")
    quay = _options("quay.io")
    assert (quay.ca_file, quay.insecure) == ("quay.pem", False)
    assert quay.credentials is not None
    found = quay.credentials.find("quay.io", "")
    assert found is not None
    assert found.password == SECRET
    mirror = _options("mirror.site")
    assert (mirror.insecure, mirror.client_certificate, mirror.client_key) == (True, "c.pem", "k.pem")
    nothing = _options("docker.io")
    assert (nothing.credentials, nothing.ca_file) == (None, None)


def test_the_site_wins_over_the_platform_and_the_command_line_over_both(tmp_path: Path) -> None:
    site = _options("registry.site:5000")
    assert (site.ca_file, site.plain_http) == ("site.pem", True)
    assert site.credentials is not None
    given = tmp_path / "ca.pem"
    given.write_text("")
    assert _options("registry.site:5000", ca=given).ca_file == given


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "isthmus.yaml").write_bytes(YAML)
    mirror = load_config(tmp_path / "isthmus.yaml").platform.registries["mirror.site"]
    assert mirror.auth == f"file:{tmp_path}/secret"
    assert mirror.client_key == f"{tmp_path}/k.pem"


@pytest.mark.parametrize("text", ["{auht: docker}", "{auth: hunter2}", "{mirrors: [quay.io]}"])
def test_wrong_settings_are_refused_without_repeating_secrets(text: str) -> None:
    from isthmus.errors import UsageError

    with pytest.raises(UsageError) as caught:
        parse_config(f"platform: {{registries: {{quay.io: {text}}}}}".encode())
    assert "quay.io" in str(caught.value) or "registries" in str(caught.value)
    assert "hunter2" not in json.dumps(caught.value.as_document())


@pytest.mark.real
def test_a_crossing_with_passwords_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from isthmus.store import Store
    from tests.transfer.images import fill

    programs.require("docker-registry")
    programs.require("htpasswd")
    outside = docker_registry.start(tmp_path / "outside", users={"reader": SECRET})
    inside = docker_registry.start(tmp_path / "inside", users={"robot": f"{SECRET}-inside"})
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
        monkeypatch.setenv("OUTSIDE_AUTH", f"reader:{SECRET}")
        (tmp_path / "secret").write_text(f"robot:{SECRET}-inside\n")
        (tmp_path / "isthmus.yaml").write_text(
            f"platform:\n  registries: {{'{outside.address}': {{auth: 'env:OUTSIDE_AUTH'}}}}\n"
            f"  architectures: []\n"
            f"site:\n  registry: {{host: '{inside.address}', auth: 'file:secret'}}\n"
        )
        fill(tmp_path / "store")
        with Store.open(tmp_path / "store") as store:
            names = [stored.name for stored in store.references()]
        (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
        upstream = [f"--upstream={host}=http://{outside.address}/mirror/{host}" for host in
                    ("docker.io", "quay.io", "ghcr.io")]  # fmt: skip
        for arguments, status in (
            (["push", "--store", "store", "--to", outside.address], 0),
            (["lock", "images:list.txt", *upstream], 0),
            (["pull", "--store", "pulled", *upstream], 0),
            (["mirror", "--to", inside.address, *upstream], 0),
            (["check"], 0),
        ):
            assert run([*arguments, "--json"]) == status, (arguments, capsys.readouterr())
        (tmp_path / "secret").write_text("robot:wrong-and-secret\n")
        assert run(["check"]) == 5
        shown = capsys.readouterr()
        assert "unauthorized" in shown.err
        for secret in (SECRET, "wrong-and-secret"):
            assert secret not in shown.out + shown.err
    finally:
        outside.stop()
        inside.stop()


@pytest.mark.real
def test_a_mirror_stands_in_for_a_host_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.transfer.images import WEB, fill

    programs.require("docker-registry")
    registry = docker_registry.start(tmp_path / "registry")
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
        fill(tmp_path / "store", 10_000)
        assert run(["push", "--store", "store", "--to", registry.address, "-q"]) == 0
        (tmp_path / "list.txt").write_text(f"{WEB}\n")
        there = f"{registry.url}/mirror/docker.io"
        assert run(["lock", "images:list.txt", "-q", f"--upstream=docker.io={there}"]) == 0
        away = ["pull", "--store", "pulled", "-q", "--upstream=docker.io=http://127.0.0.1:1/none"]
        (tmp_path / "isthmus.yaml").write_text(
            f"platform: {{architectures: [], registries: {{docker.io: {{mirrors: ['{there}']}}}}}}\n"
        )
        assert run(away) == 0, capsys.readouterr()
    finally:
        registry.stop()
