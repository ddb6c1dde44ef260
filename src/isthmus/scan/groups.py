"""Which API groups are Kubernetes' own, and which kinds only compare or describe images.

Not here: the list of the latter, which is in the catalogue.
"""

import re
from functools import lru_cache

from isthmus.scan.catalogue_use import catalogue

_BUILT_IN = re.compile(
    r"|apps|batch|extensions|autoscaling|policy|"
    r"(?:rbac\.authorization|authorization|authentication|networking|apiextensions|admissionregistration|storage|"
    r"coordination|discovery|events|scheduling|certificates|apiregistration|metrics|flowcontrol\.apiserver|node|"
    r"resource|internal\.apiserver|snapshot\.storage|gateway\.networking|custom\.metrics|external\.metrics)\.k8s\.io"
)


@lru_cache(maxsize=4096)
def is_built_in(group: str) -> bool:
    """Whether the group is Kubernetes' own, whose objects name images in pods only."""
    return _BUILT_IN.fullmatch(group) is not None


def is_ignored(group: str, kind: str) -> bool:
    """Whether objects of this kind compare or describe images, but never run them."""
    return any(entry.group == group and (not entry.kinds or kind in entry.kinds) for entry in catalogue().ignored)
