"""The wheels that Isthmus depends on, for Pythons and machines other than this: by pip, into a cache.

pip chooses files for another Python, but reads conditions (`python_version < "3.13"`) as the Python that it runs
in; so what is there is gone through again with the target's own environment, until nothing is missing. The index
is that of the user's pip configuration. Not here: Isthmus' own wheel (`own`).
"""

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

from isthmus.bundle.tool.own import OwnWheel
from isthmus.bundle.tool.targets import Target
from isthmus.errors import UnreachableError

_TIMEOUT: Final = 1800
_LIST: Final = "wheels.json"
_ROUNDS: Final = 10


def cached_wheels(
    own: OwnWheel, extras: Sequence[str], targets: Iterable[Target], cache: Path, *, fetch: bool = True
) -> dict[Target, list[Path]]:
    """The wheels for each target, from the cache where they are there. Raises UnreachableError `no-tool`."""
    return {target: _for_target(own, extras, target, cache, fetch=fetch) for target in targets}


def given_wheels(
    own: OwnWheel, extras: Sequence[str], targets: Iterable[Target], directory: Path
) -> dict[Target, list[Path]]:
    """The wheels for each target out of a directory that somebody filled. Raises UnreachableError `no-tool`."""
    if not directory.is_dir():
        raise _unavailable(f"{directory} is not a directory")
    return {
        target: _chosen(own, extras, target, ["--no-index", "--find-links", str(directory)]) for target in targets
    }


def requirements(own: OwnWheel, extras: Sequence[str], target: Target) -> set[str]:
    """What Isthmus itself needs on a target, as pip takes it."""
    return _requirements(own.metadata, set(extras), target)


def _for_target(own: OwnWheel, extras: Sequence[str], target: Target, cache: Path, *, fetch: bool) -> list[Path]:
    wanted = [*sorted(requirements(own, extras, target)), str(target)]
    place = cache / hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:16]
    if (held := _held(place)) is not None:
        return held
    if not fetch:
        raise _unavailable("they are not in the cache")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        whole = Path(scratch) / place.name
        whole.mkdir()
        fetched = _complete(own, extras, target, whole, [])
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in fetched}
        (whole / _LIST).write_text(json.dumps({"for": wanted, "wheels": sums}, indent=1, sort_keys=True))
        if place.exists():
            shutil.rmtree(place)
        os.rename(whole, place)
    return sorted(place / name for name in sums)


def _held(place: Path) -> list[Path] | None:
    """What the cache has whole; what was spoiled there is fetched again."""
    try:
        sums = json.loads((place / _LIST).read_text())["wheels"]
        paths = [place / name for name in sorted(sums)]
        intact = all(hashlib.sha256(path.read_bytes()).hexdigest() == sums[path.name] for path in paths)
    except (OSError, ValueError, KeyError):
        return None
    return paths if intact else None


def _chosen(own: OwnWheel, extras: Sequence[str], target: Target, options: list[str]) -> list[Path]:
    """Let pip choose among the files of a directory; the files there that it chose."""
    directory = Path(options[-1])
    with tempfile.TemporaryDirectory(prefix="isthmus-wheels-") as scratch:
        names = [path.name for path in _complete(own, extras, target, Path(scratch), options)]
    return sorted(directory / name for name in names)


def _complete(own: OwnWheel, extras: Sequence[str], target: Target, place: Path, options: list[str]) -> list[Path]:
    """Download until the target's requirements are met; the wheels that meet them, and no others."""
    wanted = requirements(own, extras, target)
    for _ in range(_ROUNDS):
        _download(sorted(wanted), target, place, options)
        used, lacking = _walk(wanted, {_project(path): path for path in place.glob("*.whl")}, target)
        if not lacking:
            return sorted(used)
        wanted |= lacking
    raise _unavailable(f"the requirements for {target} do not come to an end")


def _walk(wanted: Iterable[str], there: dict[str, Path], target: Target) -> tuple[set[Path], set[str]]:
    """The wheels that are needed on the target, and the requirements for which there is none."""
    packaging = _packaging()
    used, lacking, todo, seen = set(), set(), list(wanted), set()
    while todo:
        text = todo.pop()
        requirement = packaging.Requirement(text)
        path = there.get(_normal(requirement.name))
        if path is None:
            lacking.add(text)
        elif text not in seen:
            seen.add(text)
            used.add(path)
            todo += _requirements(_metadata(path), set(requirement.extras), target)
    return used, lacking


def _download(requirements: list[str], target: Target, place: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += [*target.pip_options(), *options, "--dest", str(place), *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise _unavailable(f"pip did not answer for wheels for {target}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip said nothing"]
        raise _unavailable(f"wheels for {target} cannot be had: {said[-1][:300]}")


def _requirements(metadata: str, extras: set[str], target: Target) -> set[str]:
    """What a wheel needs on the target, as pip takes it."""
    texts = HeaderParser().parsestr(metadata).get_all("Requires-Dist") or []
    return set(_holding(texts, extras, target))


def _holding(texts: Iterable[str], extras: set[str], target: Target) -> Iterator[str]:
    packaging = _packaging()
    for text in texts:
        requirement = packaging.Requirement(text)
        marker, requirement.marker = requirement.marker, None
        environments = [target.markers() | {"extra": extra} for extra in ("", *sorted(extras))]
        if marker is None or any(marker.evaluate(environment) for environment in environments):
            yield str(requirement)


def _metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def _project(wheel: Path) -> str:
    return _normal(wheel.name.partition("-")[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _packaging() -> Any:
    """The parser of requirements that pip has in it."""
    try:
        return importlib.import_module("pip._vendor.packaging.requirements")
    except ImportError as error:
        raise _unavailable("this Python has no pip, which chooses the wheels") from error


def _unavailable(why: str) -> UnreachableError:
    return UnreachableError(
        "no-tool",
        f"Isthmus cannot be carried: {why}",
        hint="give wheels with --tool-wheels DIR, or leave the tool out with --no-tool",
    )
