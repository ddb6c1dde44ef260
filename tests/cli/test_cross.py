"""`isthmus cross`: every step once, nothing twice, and where it ended it goes on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.main import run
from isthmus.demo.images import filler, make_layer, name_it, put_image
from isthmus.inventory.lock import read_lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.serve import Listen, serving
from isthmus.store import Store


@dataclass
class Place:
    """A directory to work in, an upstream to read from, and a site to fill."""

    directory: Path
    upstream: Path
    address: str
    capsys: pytest.CaptureFixture[str]

    def write(self, site: str = "", **cross: Any) -> None:
        platform = {
            "sources": ["images:images.txt"],
            "upstreams": {"docker.io": f"http://{self.address}/docker.io"},
        }
        section = {"registry": {"host": f"http://{site}", "insecure": True}} if site else {}
        text = {"platform": platform, "site": section, "cross": {"tool": False, **cross}}
        (self.directory / "isthmus.yaml").write_text(json.dumps(text))

    def image(self, name: str, seed: str) -> None:
        with Store.create(self.upstream) as store:
            layer = make_layer({"bin/a": filler(seed, 50_000)})
            name_it(store, name, put_image(store, name.partition(":")[0], [layer]))

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        status = run([*words, "--json"])
        out = self.capsys.readouterr().out
        return status, json.loads(out)

    def cross(self, *words: str) -> tuple[int, dict[str, str]]:
        """The exit status, and of each step whether it ran."""
        status, document = self.run("cross", *words)
        assert document["status"] == status
        words_for = {True: "kept", False: "ran"}
        return status, {
            step["step"]: words_for[step["skipped"]] if not step["status"] else f"ended with {step['status']}"
            for step in document["steps"]
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    made = Place(work, tmp_path / "upstream", "", capsys)
    made.image("docker.io/library/a:1", "a")
    (work / "images.txt").write_text("a:1\n")
    with serving(made.upstream, MirrorMap(prefix="")) as address:
        made.address = address
        yield made


def test_all_of_it_goes_onto_a_disk_and_nothing_is_done_twice(place: Place, tmp_path: Path) -> None:
    assert run(["keys", "new", "--out", "keys"]) == 0
    disk = tmp_path / "disk"
    place.write(to=str(disk), sign=["keys/isthmus.key"])
    ran = {"scan": "ran", "lock": "ran", "pull": "ran", "pack": "ran", "send": "ran"}
    assert place.cross() == (0, ran)
    assert place.run("unpack", str(disk / "0001"), "--store", "site", "--key", "keys/isthmus.pub")[0] == 0
    # A complete crossing asks anew what the tags are, and finds nothing to do.
    kept = {"scan": "ran", "lock": "ran", "pull": "kept", "pack": "kept", "send": "kept"}
    assert place.cross() == (0, kept)
    assert [path.name for path in (place.directory / "bundles").iterdir()] == ["0001"]


def test_what_is_new_upstream_is_the_next_bundle(place: Place, tmp_path: Path) -> None:
    place.write(to=str(tmp_path / "disk"))
    assert place.cross()[0] == 0
    assert place.run("unpack", "bundles/0001", "--store", "site")[0] == 0
    assert place.run("receipt", "--store", "site", "--out", "site.receipt")[0] == 0
    place.image("docker.io/library/a:1", "newer")
    status, document = place.run("cross", "--since", "site.receipt", "--to", str(tmp_path / "second"))
    assert status == 0
    packed = next(step["document"] for step in document["steps"] if step["step"] == "pack")
    assert packed["deltas"] == 0
    assert {path.name for path in (place.directory / "bundles").iterdir()} == {"0001", "0002"}
    assert place.run("unpack", str(tmp_path / "second" / "0002"), "--store", "site")[0] == 0
    assert place.run("check", "--store", "site")[0] == 0


def test_an_interrupted_crossing_goes_on_with_the_lock_that_it_had(place: Place, tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("a file is in the way")
    place.write(to=str(tmp_path / "disk"))
    status, steps = place.cross()
    assert (status, steps["send"]) == (5, "ended with 5")
    before = read_lock(place.directory / "isthmus.lock")
    place.image("docker.io/library/a:1", "newer")
    (tmp_path / "disk").unlink()
    assert place.cross() == (0, {"scan": "ran", "lock": "kept", "pull": "kept", "pack": "kept", "send": "ran"})
    assert read_lock(place.directory / "isthmus.lock") == before


def test_where_both_sides_are_reached_the_site_is_filled_and_checked(place: Place, tmp_path: Path) -> None:
    with Store.create(tmp_path / "site"):
        pass
    with serving(tmp_path / "site", MirrorMap(), Listen(writable=True)) as site:
        place.write(site, mirror=True)
        status, steps = place.cross("--skip", "pack", "--skip", "configure")
        assert (status, steps["mirror"], steps["check"]) == (0, "ran", "ran")
        assert "pack" not in steps
        status, document = place.run("cross", "--from", "check")
        assert (status, document["steps"][0]["document"]["present"]) == (0, 1)


def test_open_decisions_fail_and_are_checked_all_the_same(place: Place, tmp_path: Path) -> None:
    with Store.create(tmp_path / "site"):
        pass
    with serving(tmp_path / "site", MirrorMap(), Listen(writable=True)) as site:
        place.write(site, mirror=True)
        config = json.loads((place.directory / "isthmus.yaml").read_text())
        config["site"] |= {"domain": "site.internal", "ntp": {"servers": ["ntp.site.internal"]}}
        (place.directory / "isthmus.yaml").write_text(json.dumps(config))
        status, document = place.run("cross", "--skip", "pack")
        ended = {step["step"]: step["status"] for step in document["steps"]}
        assert (status, ended["mirror"], ended["configure"], ended["check"]) == (3, 0, 3, 0)
        configured = next(step["document"] for step in document["steps"] if step["step"] == "configure")
        assert configured["decisions"]
        assert (place.directory / "site" / "containerd" / "certs.d" / "docker.io" / "hosts.toml").exists()


def test_the_status_is_that_of_the_first_step_that_fails(place: Place) -> None:
    place.write()
    (place.directory / "images.txt").write_text("a:1\nabsent:9\n")
    status, document = place.run("cross")
    assert status == document["error"]["status"] == 3
    assert [step["step"] for step in document["steps"]] == ["scan", "lock"]
    assert document["error"]["code"] == "unresolved"


def test_the_plan_is_told_and_nothing_is_written(place: Place) -> None:
    place.write()
    before = sorted(place.directory.rglob("*"))
    status, document = place.run("cross", "--dry-run")
    assert status == 0
    assert [(entry["step"], entry["would"]) for entry in document["plan"]] == [
        (step, "run") for step in ("scan", "lock", "pull", "pack")
    ]
    assert document["plan"][1]["command"] == "isthmus lock --out isthmus.lock"
    assert sorted(place.directory.rglob("*")) == before
    assert place.cross("--until", "lock") == (0, {"scan": "ran", "lock": "ran"})
    status, document = place.run("cross", "--dry-run")
    assert [entry["would"] for entry in document["plan"]] == ["run", "skip", "run", "run"]


@pytest.mark.parametrize(
    "words", [("--from", "send"), ("--from", "pack", "--until", "lock"), ("--mirror",), ("--until", "check")]
)
def test_steps_that_there_are_not(place: Place, words: tuple[str, ...]) -> None:
    place.write()
    status, document = place.run("cross", *words)
    assert (status, document["error"]["code"]) == (2, "wrong-usage")


def test_a_file_elsewhere_counts_its_paths_from_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write(bundles="made")
    elsewhere = place.directory / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert place.cross("-f", "../isthmus.yaml")[0] == 0
    assert (place.directory / "made" / "0001" / "SHA256SUMS").exists()
