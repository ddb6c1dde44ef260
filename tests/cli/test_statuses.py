"""The command line's contract: exit statuses, the one JSON document, lazy imports, help that says how."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from isthmus.cli.command import parse_size
from isthmus.cli.main import COMMANDS, cli, run
from isthmus.cli.output import human_size
from isthmus.cli.targets import split_target
from isthmus.errors import CODES, UsageError
from isthmus.inventory.config_file import parse_config
from isthmus.store import Store


def outcome(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "isthmus", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True
    )


def whole_commands() -> list[str]:
    """Every command; those of a group by themselves."""
    found = []
    with click.Context(cli) as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            found += (
                [f"{name} {part}" for part in command.commands] if isinstance(command, click.Group) else [name]
            )
    return found


@pytest.mark.parametrize("name", whole_commands())
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert result.exit_code == 0, result.output
    assert "isthmus " + name in result.output
    assert "Example" in result.output
    if name not in ("completion", "pki"):
        for option in ("--json", "--verbose", "--quiet", "--file", "--workspace"):
            assert option in result.output


def test_help_and_version_import_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from isthmus.cli.main import run; run(['--help']); "
        "heavy = {'aiohttp', 'yaml', 'cryptography', 'rich', 'isthmus.registry', 'isthmus.store'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["frobnicate"], 2, "wrong-usage"),
        (["scan", "--no-such-option"], 2, "wrong-usage"),
        (["scan"], 2, "wrong-usage"),
        (["scan", "nonsense:x"], 2, "invalid-source"),
        (["pull"], 2, "file-not-found"),
        (["pack", "--out", "b"], 2, "store-not-found"),
        (["pack", "--out", "b", "--volume-size", "many"], 2, "invalid-size"),
        (["push", "--to", "http://registry"], 2, "store-not-found"),
        (["lock", "images:list.txt"], 5, "unreachable"),
        (["mirror", "images:list.txt", "--to", "127.0.0.1:1"], 5, "unreachable"),
    ],
)
def test_statuses_and_codes(tmp_path: Path, arguments: list[str], status: int, code: str) -> None:
    (tmp_path / "list.txt").write_text("registry.invalid/nothing:1\n")
    done = outcome(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert error["message"]
    assert code in CODES


def test_what_cannot_be_read_is_listed_and_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    done = outcome("scan", "manifests:bad.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert "bad.yaml" in json.dumps(document["unresolved"])


@pytest.mark.parametrize("preset", ["generic", "ck8s"])
def test_presets_hold_as_they_are_and_with_all_examples_taken(tmp_path: Path, preset: str) -> None:
    assert run(["init", "--preset", preset, str(tmp_path)]) == 0
    text = (tmp_path / "isthmus.yaml").read_text()
    as_it_is = parse_config(text.encode())
    with_examples = parse_config("".join(line.removeprefix("#-") for line in text.splitlines(True)).encode())
    assert as_it_is.site.clusters == {}
    assert with_examples.site.clusters
    assert with_examples.cross.to.startswith("ssh://")


def test_a_fault_of_ours_leaves_a_traceback_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("isthmus.cli.main.cli.main", lambda *_, **__: 1 / 0)
    assert run(["scan", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    path = Path(error["hint"].rpartition(" ")[2])
    assert "ZeroDivisionError" in path.read_text()
    assert path.parent == tmp_path


def test_init_writes_a_file_that_is_valid_and_is_not_overwritten(tmp_path: Path) -> None:
    from isthmus.inventory.config_file import load_config

    for preset in ("generic", "ck8s"):
        assert outcome("init", preset, "--preset", preset, cwd=tmp_path).returncode == 0
        assert load_config(tmp_path / preset / "isthmus.yaml").site.domain == "air-gapped.internal"
    again = outcome("init", "generic", "--json", cwd=tmp_path)
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (2, "file-exists")


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("650MB", 650_000_000), ("4GiB", 4 << 30), ("1.5 kB", 1500), ("2t", 2 * 10**12)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1XB", "inf", "nan", "9999999999TB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.code == "invalid-size"


def test_targets() -> None:
    host, mapping = split_target("registry.site:5000", "prefix")
    assert (host, mapping.prefix) == ("registry.site:5000", "mirror")
    assert split_target("registry.site/a/b", "prefix")[1].prefix == "a/b"
    assert split_target("registry.site", "flat")[1].prefix == ""
    for wrong in ("https://registry.site", "registry.site/UPPER"):
        with pytest.raises(UsageError):
            split_target(wrong, "prefix")


def test_human_sizes() -> None:
    sizes = [human_size(n) for n in (0, 999, 1500, 2.5e9, 3e18)]
    assert sizes == ["0 B", "999 B", "1.5 kB", "2.5 GB", "3000.0 PB"]


def test_a_scan_is_compared_with_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.example/x:1\na.example/y:1\n")
    assert outcome("scan", "images:list.txt", "--out", "old.json", cwd=tmp_path).returncode == 0
    (tmp_path / "list.txt").write_text("a.example/y:1\na.example/z:1\n")
    document = json.loads(outcome("scan", "images:list.txt", "--diff", "old.json", "--json", cwd=tmp_path).stdout)
    assert [[ref["name"] for ref in document[key]] for key in ("added", "removed")] == [
        ["a.example/z:1"],
        ["a.example/x:1"],
    ]
    (tmp_path / "old.json").write_text("{")
    broken = outcome("scan", "images:list.txt", "--diff", "old.json", "--json", cwd=tmp_path)
    assert (broken.returncode, json.loads(broken.stdout)["error"]["code"]) == (2, "invalid-input")


def test_the_shapes_of_the_contract_are_whole(tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"image": "pause:3"}]},
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    document = json.loads(outcome("scan", "manifests:pod.json", "--json", cwd=tmp_path).stdout)
    assert set(document) == {"references", "endpoints", "unresolved", "statistics"}
    (ref,) = document["references"]
    assert (ref["kind"], ref["name"], ref["as_written"]) == ("image", "docker.io/library/pause:3", ["pause:3"])
    (finding,) = ref["findings"]
    assert finding == {
        "source": "manifests:pod.json",
        "object": "Pod/a",
        "path": ".spec.containers[0].image",
        "rule": "pod-container",
        "confidence": "certain",
        "when": "always",
        "note": "",
    }


@pytest.mark.parametrize(
    "words",
    [
        ["export", "--out", "{long}"],
        ["export", "--out", "nowhere/x.tar"],
        ["lock", "images:-", "--out", "{long}"],
        ["check", "--registry", "127.0.0.1:1", "--lock", "{long}"],
        ["pull", "--store", "{long}"],
    ],
    ids=lambda words: words[0],
)
def test_what_the_system_refuses_is_no_fault_of_ours(words: list[str], tmp_path: Path) -> None:
    from tests.transfer.images import fill

    fill(tmp_path / ".isthmus" / "store", 1000)
    (tmp_path / "isthmus.lock").write_text("version: 1\nreferences: []\n")
    long = "a" * 300
    done = outcome(*(word.format(long=long) for word in words), "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (5, "io-failed"), done.stdout
    assert error["where"] in (long, "nowhere/x.tar")


@pytest.mark.parametrize(
    "words",
    [
        ["push", "--to", "user:geheim@registry.example"],
        ["push", "--to", "https://user:ge/heim@registry.example/x"],
        ["check", "--registry", "user:geheim@registry.example"],
        ["check", "--registry", "https://user:ge/heim@registry.example"],
        ["mirror", "--to", "registry.example", "--verify", "--upstream", "docker.io=user:ge=heim@mirror.example"],
        [
            "mirror",
            "--to",
            "registry.example",
            "--verify",
            "--upstream",
            "docker.io=https://user:geheim@m.example",
        ],
    ],
    ids=lambda words: " ".join(words[:1]),
)
def test_a_password_in_the_wrong_place_is_not_repeated(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "isthmus.lock").write_text(
        "version: 1\nreferences: [{kind: image, name: docker.io/library/a:1, digest: 'sha256:%s'}]\n" % ("0" * 64)
    )
    Store.create(tmp_path / ".isthmus" / "store").close()
    done = outcome(*words, "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "wrong-usage")
    assert "heim" not in done.stdout + done.stderr
    assert "***@" in error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ["push", "--to", "registry.example/Upper"],
        ["mirror", "--to", "registry.example/a//b"],
        ["prune", "--to", "registry.example/../x", "--lock", "isthmus.lock"],
        ["check", "--registry", "registry.example", "--prefix", "../x"],
    ],
    ids=lambda words: words[0],
)
def test_a_prefix_that_no_name_can_have_is_said(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "isthmus.lock").write_text("version: 1\nreferences: []\n")
    Store.create(tmp_path / ".isthmus" / "store").close()
    done = outcome(*words, "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "wrong-usage")
    assert "registry.invalid" not in done.stdout
    assert "begin with" in error["message"]


def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "isthmus.lock").write_text("version: 1\nreferences: []\n")
    for option in ("--upload", "--receipt", "--contents"):
        done = outcome("check", "--registry", "127.0.0.1:1", option, "x", cwd=tmp_path)
        assert (done.returncode, option in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words", [["export", "--out", "-"], ["check", "--store", "store", "--json"]], ids=lambda w: w[0]
)
def test_a_reader_that_has_gone_is_no_fault_of_ours(words: list[str], tmp_path: Path) -> None:
    from tests.transfer.images import fill

    fill(tmp_path / "store", 300_000)
    (tmp_path / "isthmus.lock").write_text("version: 1\nreferences: []\n")
    command = [sys.executable, "-m", "isthmus", *words, *(["--store", "store"] if words[0] == "export" else [])]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        said = program.stderr.read()
    assert (program.returncode, said) == (141, b"")
