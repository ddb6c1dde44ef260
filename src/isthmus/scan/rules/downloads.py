"""What scripts of containers fetch when they run: curl, wget, git clone, package managers, kubectl -f. Likely.

An address of a file becomes a file to carry, another an endpoint. Not here: plugins (`plugins`), images
(`arguments`).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint, Ref
from isthmus.scan.addresses import host_of, is_outside, urls_in, without_secrets
from isthmus.scan.document import list_at
from isthmus.scan.view import View, endpoint

RULE = "download"
ADVICE = "serve it inside and change the address, or build it into the image"
PACKAGE_ADVICE = "build the packages into the image, or serve the package repository inside"
_FETCH = re.compile(
    r"\b(?:curl|wget|aria2c|git\s+clone|helm\s+(?:repo\s+add|pull|install)|kubectl\s+\S{1,100}.{0,300}\s-f)\b"
)
_FILE = re.compile(
    r"\.(?:zip|t?gz|tgz|tar|bz2|xz|zst|whl|deb|rpm|apk|jar|json|ya?ml|sh|py|so|wasm|exe|iso|qcow2|bin|img)$"
)
_MANAGERS = {
    "apk": (re.compile(r"\bapk\s+(?:--?\S{1,200}\s+){0,20}add\b"), "https://dl-cdn.alpinelinux.org/"),
    "apt": (
        re.compile(r"\bapt(?:-get)?\s+(?:--?\S{1,200}\s+){0,20}(?:update|install)\b"),
        "https://deb.debian.org/",
    ),
    "pip": (re.compile(r"\bpip3?\s+(?:--?\S{1,200}\s+){0,20}install\b"), "https://pypi.org/"),
    "npm": (re.compile(r"\bnpm\s+(?:--?\S{1,200}\s+){0,20}(?:install|ci)\b"), "https://registry.npmjs.org/"),
    "gem": (re.compile(r"\bgem\s+install\b"), "https://rubygems.org/"),
}
_MAX_TEXT = 1 << 20


def find(view: View) -> Iterator[Ref | Endpoint]:
    """Every download in a command, an argument, or a script in a ConfigMap."""
    for container in view.containers:
        for field in ("command", "args"):
            text = " ".join(item for item in list_at(container.data, field) if isinstance(item, str))
            yield from _script(view, text, f"{container.path}.{field}")
    for part in view.texts:
        if part.key.endswith((".sh", ".bash", ".py")) or part.text.startswith("#!"):
            yield from _script(view, part.text, part.path)


def _script(view: View, text: str, path: str) -> Iterator[Ref | Endpoint]:
    if len(text) > _MAX_TEXT:
        return
    for line in text.replace("\\\n", " ").splitlines():
        if _FETCH.search(line):
            for url in urls_in(line):
                if is_outside(url) and "$" not in host_of(url):
                    yield _fetched(view, url, line, path)
        for name, (command, url) in _MANAGERS.items():
            if command.search(line):
                yield endpoint(url, f"packages-{name}", view.finding(path, RULE, "likely"), PACKAGE_ADVICE)


def _fetched(view: View, url: str, line: str, path: str) -> Ref | Endpoint:
    address = without_secrets(url)
    if "git clone" in line or address.endswith(".git"):
        return endpoint(address, "git", view.finding(path, RULE, "likely"), "copy the repository inside")
    if _FILE.search(address) and "$" not in address:
        return Ref("file", address, (address,), findings=(view.finding(path, RULE, "likely", note=ADVICE),))
    return endpoint(address, "download", view.finding(path, RULE, "likely"), ADVICE)
