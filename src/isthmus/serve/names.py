"""The names a store is served under: from what a client asks for to a repository of the store (`host/path`).

Only values, made anew when the store's index changes. Not here: whether content is there (`reach`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.inventory.mapping import MirrorMap, host_of_path
from isthmus.oci import Descriptor
from isthmus.store import StoredReference


@dataclass(frozen=True)
class Names:
    """All names of a store at one moment. `inside` leads from names inside the site to full ones."""

    mapping: MirrorMap
    inside: dict[str, str]
    tags: dict[str, dict[str, Descriptor]]
    roots: dict[str, tuple[Descriptor, ...]]

    def repository(self, name: str, namespace: str | None) -> str | None:
        """The repository that is meant, or None where the store has none of that name.

        A name made by the mapping counts first. With a host in it, whatever `?ns=` (containerd) says does not
        matter; without one (`flat`), nobody who asks for another host's image must get this one. Otherwise
        the name is one of the host in `ns`, or of docker.io, for which Docker's `registry-mirrors` asks with
        no host at all.
        """
        host = namespace.lower() if namespace else None
        mapped = self.inside.get(name)
        if mapped is not None:
            is_said = self.mapping.mapping == "prefix" or host is None or mapped.partition("/")[0] == host
            if is_said:
                return mapped
        whole = host_of_path(name, host)
        return whole if whole in self.roots else None

    def original(self, name: str, namespace: str | None) -> str:
        """The full name that a client most likely meant by a name that is not there."""
        try:
            origin = self.mapping.origin(name)
        except ValueError:  # what looked like an encoded IPv6 address is none
            origin = None
        if origin is not None and _is_host(origin[0]):
            return f"{origin[0]}/{origin[1]}"
        if namespace is None and self.mapping.mapping == "flat":
            return name
        return host_of_path(name, namespace)


def make_names(references: Iterable[StoredReference], mapping: MirrorMap) -> Names:
    """Raises UsageError `mapping-collision` where two repositories would be served under one name."""
    parsed = [(stored.reference, stored.descriptor) for stored in references]
    mapping.check_collisions(reference for reference, _ in parsed)
    inside: dict[str, str] = {}
    tags: dict[str, dict[str, Descriptor]] = {}
    roots: dict[str, dict[Descriptor, None]] = {}
    # A tag with a digest was true when it was locked; the tag alone, where it is there too, is what it is now.
    for reference, descriptor in sorted(parsed, key=lambda item: item[0].digest is None):
        repository = f"{reference.host.lower()}/{reference.path}"  # host names do not tell case apart
        inside[mapping.repository(reference)] = repository
        roots.setdefault(repository, {})[descriptor] = None
        named = tags.setdefault(repository, {})
        if reference.tag:
            named[reference.tag] = descriptor
    return Names(mapping, inside, tags, {name: tuple(found) for name, found in roots.items()})


def _is_host(text: str) -> bool:
    return any(mark in text for mark in ".:") or text == "localhost"
