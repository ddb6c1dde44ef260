"""The table of all parts that `configure` writes; a part is imported only when it is asked for.

To add one, write a module with `configure(site: Site) -> Part` and give it a line here, and one in `index`,
which is of all the others.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import cast

from isthmus.inventory.config import Waiver
from isthmus.site.plan import Decision, Part, Site

PARTS: dict[str, str] = {
    "containerd": "isthmus.site.containerd",
    "crio": "isthmus.site.podman",
    "k3s": "isthmus.site.k3s",
    "docker": "isthmus.site.docker",
    "talos": "isthmus.site.talos",
    "openshift": "isthmus.site.openshift",
    "cluster-api": "isthmus.site.cluster_api",
    "kubespray": "isthmus.site.kubespray",
    "trust": "isthmus.site.trust",
    "cert-manager": "isthmus.site.cert_manager",
    "dns": "isthmus.site.dns.part",
    "ntp": "isthmus.site.ntp",
    "firewall": "isthmus.site.firewall",
    "network-policies": "isthmus.site.network_policies",
    "object-storage": "isthmus.site.object_storage",
    "alerts": "isthmus.site.alerts.part",
    "helm-values": "isthmus.site.helm_values",
    "serve": "isthmus.site.serving",
    "ck8s": "isthmus.site.ck8s.part",
    "index": "isthmus.site.index",
}
"""Name of the part → its module."""
INDEX = "index"
"""The part that is made from what the others gave."""


def configure_parts(site: Site, names: Iterable[str] = ()) -> dict[str, Part]:
    """What the named parts give, or all of them; decisions carry the name of their part.

    Raises UsageError as the parts do.
    """
    wanted = list(names) or list(PARTS)
    others = [name for name in PARTS if name != INDEX and (name in wanted or INDEX in wanted)]
    done = {name: _run(name, site) for name in others}
    if INDEX in wanted:
        from isthmus.site import index

        done[INDEX] = index.configure(site, done)
    return {name: part for name, part in done.items() if name in wanted}


def _run(name: str, site: Site) -> Part:
    function = cast("Callable[[Site], Part]", importlib.import_module(PARTS[name]).configure)
    part = function(site)
    return replace(part, decisions=tuple(unwaived(name, part.decisions, site.config.platform.waive)))


def unwaived(name: str, decisions: Iterable[Decision], waivers: Iterable[Waiver]) -> Iterator[Decision]:
    """Those that nobody has waived, by the key alone or as `PART:KEY`."""
    for decision in decisions:
        names = (decision.key, f"{name}:{decision.key}")
        if not any(fnmatchcase(known, waiver.what) for waiver in waivers for known in names):
            yield replace(decision, part=name)
