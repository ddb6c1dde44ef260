"""Parsers of package databases that are text: dpkg, apk, Python; and the licences of Debian's copyright files.

Not here: where the files are (`layer`), RPM (`rpm`).
"""

import re
from collections.abc import Iterator
from typing import Final

from isthmus.report.packages.model import Package, text

MAX_PACKAGES: Final = 50_000
_LICENSE: Final = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_COMMON: Final = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]+)")


def dpkg(data: bytes) -> list[Package]:
    """`/var/lib/dpkg/status`, and each file of distroless' `status.d` (Debian policy, "Control files")."""
    found = []
    for fields in _paragraphs(data):
        if "installed" not in fields.get("status", "install ok installed").split():
            continue
        name, version = fields.get("package", ""), fields.get("version", "")
        if name and version:
            source = fields.get("source", "").partition(" ")[0]
            found.append(
                Package("deb", text(name), text(version), text(fields.get("architecture", "")), "", text(source))
            )
    return found[:MAX_PACKAGES]


def apk(data: bytes) -> list[Package]:
    """`/lib/apk/db/installed`: a letter and a colon, a line each; an empty line ends a package."""
    found: list[Package] = []
    fields: dict[str, str] = {}
    for line in [*data.decode("utf-8", "replace").splitlines(), ""]:
        if not line.strip():
            if "P" in fields and "V" in fields:
                found.append(
                    Package(
                        "apk",
                        text(fields["P"]),
                        text(fields["V"]),
                        text(fields.get("A", "")),
                        text(fields.get("L", "")),
                        text(fields.get("o", "")),
                    )
                )
            fields = {}
        elif line[1:2] == ":":
            fields.setdefault(line[0], line[2:])
    return found[:MAX_PACKAGES]


def python(data: bytes) -> list[Package]:
    """`METADATA` of a dist-info directory, or `PKG-INFO` (core metadata, PEP 639 for the licence)."""
    head = data.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    fields: dict[str, str] = {}
    trove: list[str] = []
    for line in head.splitlines():
        key, colon, value = line.partition(":")
        if not colon or line[:1].isspace():
            continue
        if key.lower() == "classifier" and value.strip().startswith("License ::"):
            trove.append(value.rpartition("::")[2].strip())
        fields.setdefault(key.strip().lower(), value.strip())
    if not fields.get("name") or not fields.get("version"):
        return []
    said = fields.get("license-expression") or (fields.get("license", "") if not trove else "")
    licence = said if said and said != "UNKNOWN" and len(said) < 100 else " OR ".join(trove)
    return [Package("pypi", text(fields["name"]), text(fields["version"]), "", text(licence))]


def copyright_licences(data: bytes) -> str:
    """The names of licences in a Debian copyright file, machine-readable or not, joined by a comma."""
    body = data.decode("utf-8", "replace")
    names = _LICENSE.findall(body) if body.startswith("Format:") else _COMMON.findall(body)
    found = sorted({text(name).rstrip(".") for name in names} - {""})
    return text(", ".join(found[:12]))


def os_release(data: bytes) -> dict[str, str]:
    """The `ID` and `VERSION_ID` of os-release(5)."""
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    values = {key: text(value.strip().strip("\"'")) for key, equals, value in pairs if equals}
    return {key: values[key] for key in ("ID", "VERSION_ID", "PRETTY_NAME") if key in values}


def _paragraphs(data: bytes) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[:1].isspace():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.lower(), value.strip())
    if fields:
        yield fields
