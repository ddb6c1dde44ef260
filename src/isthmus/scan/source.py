"""`SourceSpec`: what a person writes as `KIND:VALUE[?option=…&option=…]`, and which module reads each kind.

The modules are imported only when their kind is read, because some need heavy or optional libraries. Not
here: reading itself (`sources/`).
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Self, TypeAlias
from urllib.parse import unquote

import msgspec

from isthmus.errors import UsageError
from isthmus.inventory.local_paths import under
from isthmus.inventory.model import Endpoint, Item, Ref
from isthmus.scan.document import Document

Found: TypeAlias = Document | Item | Ref | Endpoint

SOURCES: Mapping[str, str] = {
    "ck8s": "isthmus.scan.sources.ck8s:read",
    "cluster": "isthmus.scan.sources.cluster:read",
    "helm": "isthmus.scan.sources.helm:read",
    "helmfile": "isthmus.scan.sources.helmfile:read",
    "images": "isthmus.scan.sources.images:read",
    "kubeadm": "isthmus.scan.sources.kubeadm:read",
    "kubespray": "isthmus.scan.sources.kubespray:read",
    "kustomize": "isthmus.scan.sources.kustomize:read",
    "manifests": "isthmus.scan.sources.manifests:read",
}

_WITHOUT_PATH = frozenset({"kubeadm"})
_PATH_OPTIONS = frozenset({"config", "inventory", "values"})
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")


class SourceSpec(msgspec.Struct, frozen=True):
    """One source: its kind, its value (a path, a version…) and its options, each with all its values."""

    kind: str
    value: str
    options: Mapping[str, list[str]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `KIND:VALUE[?name=value&…]`; names and values of options are percent-decoded.

        Raises UsageError (`invalid-source`).
        """
        kind, colon, rest = text.partition(":")
        if not colon or kind not in SOURCES:
            raise _wrong(text, _unknown_kind(kind) if colon else "it is not of the form KIND:VALUE")
        value, _, query = rest.partition("?")
        if not value:
            raise _wrong(text, "there is nothing after the colon")
        if "\0" in text:
            raise _wrong(text, "it holds a NUL")
        return cls(kind=kind, value=value, options=_parse_options(text, query))

    def one(self, name: str, default: str = "") -> str:
        """The value of an option that is given at most once; raises UsageError (`invalid-source`)."""
        values = self.options.get(name, [])
        if len(values) > 1:
            raise _wrong(str(self), f"the option {name!r} is given {len(values)} times")
        return values[0] if values else default

    def many(self, name: str) -> list[str]:
        """All values of an option, in the order they were written."""
        return list(self.options.get(name, []))

    def allow(self, *names: str) -> None:
        """Raise UsageError (`invalid-source`) where an option other than these is given."""
        for name in self.options:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                known = f"its options are {', '.join(names)}" if names else "it takes no options"
                hint = f"did you mean {close[0]!r}?" if close else known
                raise _wrong(str(self), f"{self.kind}: has no option {name!r}", hint)

    def under(self, directory: str) -> Self:
        """The same source where its paths were written in a file of `directory`, such as isthmus.yaml."""
        if self.kind in _WITHOUT_PATH or _ADDRESS.match(self.value):
            return self
        options = {
            name: [under(directory, value) for value in values] if name in _PATH_OPTIONS else values
            for name, values in self.options.items()
        }
        return msgspec.structs.replace(self, value=under(directory, self.value), options=options)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def reader(spec: SourceSpec) -> Callable[[SourceSpec], Iterator[Found]]:
    """The function that reads a source of this kind; imports its module."""
    module, _, name = SOURCES[spec.kind].partition(":")
    function: Callable[[SourceSpec], Iterator[Found]] = getattr(import_module(module), name)
    return function


def _parse_options(text: str, query: str) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for part in query.split("&"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise _wrong(text, f"the option {part!r} is not of the form name=value")
        # Not parse_qs: a plus sign is part of versions such as v1.30.1+k3s1.
        options.setdefault(unquote(name), []).append(unquote(value))
    return options


def _unknown_kind(kind: str) -> str:
    close = difflib.get_close_matches(kind, SOURCES, n=1)
    return f"there is no kind {kind[:40]!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    hint = hint or f"write KIND:VALUE, where KIND is one of {', '.join(sorted(SOURCES))}"
    return UsageError("invalid-source", f"not a source: {text[:300]!r}: {why}", hint=hint)
