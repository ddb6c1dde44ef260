"""Names that a runtime cannot ask for, because it can only put a path before all names of a host.

Under the `flat` mapping without a prefix, a name of one part goes to `library/`, as Harbor has no other room for
it; of the runtimes only those that rewrite single names (CRI-O, Podman, k3s) follow it there. Not here: mapping.
"""

from isthmus.oci import Reference
from isthmus.site.plan import Decision, Site


def moved_names(site: Site) -> tuple[Reference, ...]:
    """The references whose name inside is not the host's prefix and their own path."""
    moved = {}
    for reference in site.references:
        prefix = site.mapping.host_prefix(reference.host)
        if site.mapping.repository(reference) != (f"{prefix}/{reference.path}" if prefix else reference.path):
            moved[f"{reference.host}/{reference.path}"] = reference
    return tuple(moved[name] for name in sorted(moved))


def moved_decision(site: Site, runtime: str) -> tuple[Decision, ...]:
    """The decision that is open where the site's runtime is this one and there are such names."""
    names = [f"{reference.host}/{reference.path}" for reference in moved_names(site)]
    if not names or site.config.site.nodes.runtime != runtime:
        return ()
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        Decision(
            key="site.registry.mapping",
            why=f"{runtime} cannot ask for {shown}: the flat mapping puts them below library/",
            hint="use mapping: prefix, or give site.registry.prefix (a Harbor project) beside mapping: flat",
        ),
    )
