"""The names a store is served under: from what a client asks for to a repository of the store (`host/path`).

What is pushed under a name that the mapping made goes where that name leads: `mirror/quay.io/a/b` is
`quay.io/a/b`. Any other name is the site's own and is kept as `localhost/NAME`, as podman keeps images that
belong to no registry: so it can never take the place of an upstream image. Only values, made anew when the
store's index changes. Not here: whether content is there (`reach`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from isthmus.inventory.mapping import MirrorMap, host_of_path
from isthmus.oci import Descriptor, Digest
from isthmus.store import StoredReference

OWN_HOST = "localhost"
"""The host under which names are kept that no mapping made."""


@dataclass(frozen=True)
class Names:
    """All names of a store at one moment. `inside` leads from names inside the site to full ones."""

    mapping: MirrorMap
    inside: dict[str, str]
    tags: dict[str, dict[str, Descriptor]]
    roots: dict[str, tuple[Descriptor, ...]]
    homes: dict[Digest, frozenset[str]]

    @property
    def listed(self) -> list[str]:
        """Every name for the catalogue, sorted: the site's own as they were pushed, the others as mapped."""
        own = f"{OWN_HOST}/"
        names = {name for name, repository in self.inside.items() if not repository.startswith(own)}
        return sorted(
            names | {repository.removeprefix(own) for repository in self.roots if repository.startswith(own)}
        )

    def repository(self, name: str, namespace: str | None) -> str | None:
        """The repository that is meant, or None where the store has none of that name.

        A name made by the mapping counts first. With a host in it, whatever `?ns=` (containerd) says does not
        matter; without one (`flat`), nobody who asks for another host's image must get this one. Otherwise
        the name is one of the host in `ns`; without that one of the site's own, or of docker.io, for which
        Docker's `registry-mirrors` asks with no host at all.
        """
        host = namespace.lower() if namespace else None
        mapped = self._mapped(name, host)
        if mapped is not None:
            return mapped
        own = f"{OWN_HOST}/{name}"
        if host is None and own in self.roots:
            return own
        whole = host_of_path(name, host)
        return whole if whole in self.roots else None

    def _mapped(self, name: str, host: str | None) -> str | None:
        mapped = self.inside.get(name)
        if mapped is None:
            return None
        is_said = self.mapping.mapping == "prefix" or host is None or mapped.partition("/")[0] == host
        return mapped if is_said else None

    def home(self, name: str) -> str:
        """Where what is pushed under a name goes."""
        return self._mapped(name, None) or self._origin(name) or f"{OWN_HOST}/{name}"

    def _origin(self, name: str) -> str | None:
        try:
            origin = self.mapping.origin(name)
        except ValueError:  # what looked like an encoded IPv6 address is none
            return None
        return f"{origin[0]}/{origin[1]}" if origin is not None and _is_host(origin[0]) else None

    def original(self, name: str, namespace: str | None) -> str:
        """The full name that a client most likely meant by a name that is not there."""
        origin = self._origin(name)
        if origin is not None:
            return origin
        if namespace is None and self.mapping.mapping == "flat":
            return name
        return host_of_path(name, namespace)


def make_names(references: Iterable[StoredReference], mapping: MirrorMap) -> Names:
    """Raises UsageError `mapping-collision` where two repositories would be served under one name."""
    parsed = [(stored.reference, stored.descriptor) for stored in references]
    mapping.check_collisions(reference for reference, _ in parsed if reference.host != OWN_HOST)
    inside: dict[str, str] = {}
    tags: dict[str, dict[str, Descriptor]] = {}
    roots: dict[str, dict[Descriptor, None]] = {}
    # A tag with a digest was true when it was locked; the tag alone, where it is there too, is what it is now.
    for reference, descriptor in sorted(parsed, key=lambda item: item[0].digest is None):
        repository = f"{reference.host.lower()}/{reference.path}"  # host names do not tell case apart
        if reference.host != OWN_HOST or mapping.mapping == "prefix":  # `flat` would lead to another host's
            inside[mapping.repository(reference)] = repository
        roots.setdefault(repository, {})[descriptor] = None
        named = tags.setdefault(repository, {})
        if reference.tag:
            named[reference.tag] = descriptor
    homes: dict[Digest, set[str]] = {}
    for repository, found in roots.items():
        for descriptor in found:
            homes.setdefault(descriptor.digest, set()).add(repository)
    return Names(
        mapping,
        inside,
        tags,
        {name: tuple(found) for name, found in roots.items()},
        {digest: frozenset(found) for digest, found in homes.items()},
    )


def _is_host(text: str) -> bool:
    return any(mark in text for mark in ".:") or text == OWN_HOST
