"""Isthmus' own wheel, made of the very code that runs: from a checkout and from an installation alike.

The same code gives the same bytes: nothing is compressed, since two machines' zlib need not agree, and there is no
clock in it. Not here: what Isthmus depends on (`wheels`).
"""

import base64
import hashlib
import io
import re
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import isthmus
from isthmus.errors import UnreachableError

_NAME: Final = "isthmus"
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: isthmus\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT: Final = ("__pycache__",)


@dataclass(frozen=True, slots=True)
class OwnWheel:
    """A wheel's file name and bytes, the version in it, and the text of its METADATA."""

    file_name: str
    data: bytes
    version: str
    metadata: str


def is_stale(root: Path | None = None) -> bool:
    """Whether what is installed says other dependencies than the checkout that it runs from (`pyproject.toml`).

    An editable installation keeps the METADATA of when it was installed. False where there is no checkout.
    """
    project = (root or Path(isthmus.__file__).parents[2]) / "pyproject.toml"
    try:
        listed = tomllib.loads(project.read_text("utf-8"))["project"]
        texts = distribution(_NAME).requires or []
    except (OSError, ValueError, KeyError, PackageNotFoundError):
        return False
    if listed.get("name") != _NAME:
        return False
    plain = listed.get("dependencies", [])
    optional = [text for texts in listed.get("optional-dependencies", {}).values() for text in texts]
    return {_words(text) for text in (*plain, *optional)} != {_words(text) for text in texts}


def _words(requirement: str) -> str:
    """Name and versions of a requirement, however they are written; conditions do not count."""
    bare = requirement.partition(";")[0].lower()
    name = re.match(r"[\s\w.\[\]-]*", bare)
    begins = name[0] if name else ""
    versions = sorted(part.strip() for part in bare[len(begins) :].strip("() ").split(",") if part.strip())
    return re.sub(r"[-_.\s]+", "-", begins.strip()) + ",".join(re.sub(r"\s+", "", part) for part in versions)


def own_wheel() -> OwnWheel:
    """Pack the running code. Raises UnreachableError `no-tool` where it is not installed, only imported."""
    try:
        found = distribution(_NAME)
    except PackageNotFoundError as error:
        raise UnreachableError(
            "no-tool", "Isthmus runs without being installed, and so cannot be carried", hint="use --no-tool"
        ) from error
    info = f"{_NAME}-{found.version}.dist-info"
    files = _code() | {f"{info}/{name}": data for name, data in _information(found).items()}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    file_name = f"{_NAME}-{found.version}-py3-none-any.whl"
    return OwnWheel(file_name, _zipped(files), found.version, found.read_text("METADATA") or "")


def _code() -> dict[str, bytes]:
    root = Path(isthmus.__file__).parent
    files = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not path.is_file() or any(part.startswith(".") or part in _LEFT_OUT for part in parts):
            continue
        files["/".join((_NAME, *parts))] = path.read_bytes()
    return files


def _information(found: Distribution) -> dict[str, bytes]:
    texts = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt")}
    licences = [file for file in found.files or () if ".dist-info/licenses/" in file.as_posix()]
    texts |= {f"licenses/{file.as_posix().partition('/licenses/')[2]}": file.read_text() for file in licences}
    return {name: text.encode() for name, text in sorted(texts.items()) if text} | {"WHEEL": _WHEEL.encode()}


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    lines = []
    for name, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join([*lines, f"{own_name},,\n"]).encode()


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return out.getvalue()
