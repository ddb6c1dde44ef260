"""How each tool brings images from a registry into one OCI layout, as its users would run it.

Each does the whole set: one process where the tool takes many images, otherwise one after the other in one
shell loop. All keep digests and every platform. Not here: measuring.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.images import BuiltImage
from bench.measure import Cost, run
from bench.registry import Upstream

OURS = "isthmus"


@dataclass(frozen=True)
class Place:
    """Where a contender works: its home, which stays, and a scratch directory for logs."""

    upstream: Upstream
    home: Path

    @property
    def env(self) -> Mapping[str, str]:
        """A home of its own, so that nobody's credentials or caches take part."""
        home = str(self.home)
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DOCKER_CONFIG")
        # Installed packages come with bytecode; a checkout makes it in the round that does not count.
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.home / "bytecode")}
        return dict.fromkeys(names, home) | {"TMPDIR": home} | bytecode


class Isthmus:
    """`isthmus pull` of a lock that `isthmus lock` made before."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._program = program()
        self._locks: dict[tuple[str, ...], Path] = {}

    def pull(self, images: Sequence[BuiltImage], layout: Path) -> Cost:
        """Bring the images into the layout."""
        command: list[str | Path] = [
            self._program,
            "pull",
            "-q",
            "--json",
            "--lock",
            self._lock(images),
            "--store",
            layout,
        ]
        return self._run(command, images)

    def _lock(self, images: Sequence[BuiltImage]) -> Path:
        references = tuple(image.reference for image in images)
        found = self._locks.get(references)
        if found is None:
            number = len(self._locks)
            listed, found = self._place.home / f"images-{number}.txt", self._place.home / f"{number}.lock"
            listed.write_text("\n".join(references) + "\n")
            command: list[str | Path] = [self._program, "lock", "-q", "--json", f"images:{listed}", "--out", found]
            self._run(command, images)
            self._locks[references] = found
        return found

    def _run(self, command: list[str | Path], images: Sequence[BuiltImage]) -> Cost:
        hosts = sorted({image.name.partition("/")[0] for image in images})
        options = self._place.upstream.substitutes(hosts)
        return run([*command, *options], cwd=self._place.home, env=self._place.env)


class Loop:
    """A tool that is run once an image, in one shell loop."""

    def __init__(self, place: Place, line: str) -> None:
        self._place = place
        self._line = line

    def pull(self, images: Sequence[BuiltImage], layout: Path) -> Cost:
        """Bring the images into the layout. The line knows $SOURCE (HOST/NAME:TAG), $LAYOUT, $REF and $TAG."""
        words = [
            word
            for image in images
            for word in (f"{self._place.upstream.address}/{image.name}:{image.tag}", image.ref, _tag(image))
        ]
        script = f"set -e; while [ $# -gt 0 ]; do SOURCE=$1 REF=$2 TAG=$3; shift 3; {self._line}; done"
        env = {**self._place.env, "LAYOUT": str(layout)}
        return run(["/bin/sh", "-c", script, "sh", *words], cwd=self._place.home, env=env)


class Crane:
    """`crane pull --format=oci` takes all images in one process."""

    def __init__(self, place: Place, crane: Path) -> None:
        self._place = place
        self._crane = crane

    def pull(self, images: Sequence[BuiltImage], layout: Path) -> Cost:
        """Bring the images into the layout."""
        names = [f"{self._place.upstream.address}/{image.name}:{image.tag}" for image in images]
        command: list[str | Path] = [
            self._crane,
            "pull",
            "--insecure",
            "--format=oci",
            "--annotate-ref",
            *names,
            layout,
        ]
        return run(command, cwd=self._place.home, env=self._place.env)


Tool = Isthmus | Loop | Crane


def program() -> Path:
    """The `isthmus` of the environment that the benchmark runs in."""
    return Path(sys.executable).with_name("isthmus")


def tools(upstream: Upstream, homes: Path) -> dict[str, Tool]:
    """Isthmus, and the peers that this machine has."""

    def place(name: str) -> Place:
        (homes / name).mkdir(parents=True, exist_ok=True)
        return Place(upstream, homes / name)

    found: dict[str, Tool] = {OURS: Isthmus(place(OURS))}
    lines = {
        "skopeo": "{} --insecure-policy copy -q --all --preserve-digests --src-tls-verify=false "
        '"docker://$SOURCE" "oci:$LAYOUT:$REF"',
        "regctl": '{} image copy --host "reg=${{SOURCE%%/*}},tls=disabled" "$SOURCE" "ocidir://$LAYOUT:$TAG"',
        "oras": '{} cp --no-tty --from-plain-http "$SOURCE" --to-oci-layout "$LAYOUT:$TAG"',
    }
    for name, line in lines.items():
        if path := peers.find(name):
            found[name] = Loop(place(name), line.format(shlex.quote(str(path))))
    if path := peers.find("crane"):
        found["crane"] = Crane(place("crane"), path)
    return found


def _tag(image: BuiltImage) -> str:
    """A tag that is the image's alone, for tools that name content of a layout by tags only."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", image.ref)
