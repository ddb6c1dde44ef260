"""The configuration of both clusters as the real tools merge it: defaults, then the overrides. Reads only.

From the user's CK8S_CONFIG_PATH where isthmus.yaml names one; what it lacks is made from the checkout, for the
air-gapped flavour. Not here: what to change in it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.errors import UsageError
from isthmus.inventory.site_config import Ck8sSection
from isthmus.scan.ck8s.config import Choice, Configuration
from isthmus.scan.ck8s.merge import merged
from isthmus.scan.source import SourceSpec
from isthmus.site.ck8s.setting import FILES, File
from isthmus.site.plan import Site

CLUSTERS = ("sc", "wc")


@dataclass(frozen=True)
class Composed:
    """A checkout and a configuration; `config` may be empty."""

    checkout: str
    config: str
    _configuration: Configuration

    def below(self, file: File) -> dict[str, Any]:
        """What an override file overrides, the other override files aside."""
        layers = [self._default("common")]
        if file != "common":
            layers.append(self._default(file))
        return merged(layers)

    def cluster(self, name: str, overrides: Mapping[File, dict[str, Any]]) -> dict[str, Any]:
        """The whole configuration of a cluster: common and its own defaults, then common and its own overrides."""
        cluster: File = "sc" if name == "sc" else "wc"
        layers: Iterable[dict[str, Any]] = (
            self._default("common"),
            self._default(cluster),
            overrides.get("common", {}),
            overrides.get(cluster, {}),
        )
        return merged(layers)

    def former(self, file: File) -> str:
        """The text of the user's override file, or nothing."""
        return former_text(self.config, file)

    def _default(self, name: str) -> dict[str, Any]:
        return self._configuration.file(f"defaults/{name}-config.yaml") or {}


def compose(site: Site) -> Composed | None:
    """The configuration, or None where no checkout is known. Raises UsageError as reading does."""
    section = site.config.site.ck8s
    checkout = checkout_of(site)
    if not checkout:
        return None
    choice = Choice(installer=section.installer, provider=section.provider)
    config = section.config if section.config and os.path.isdir(section.config) else ""
    return Composed(checkout, config, Configuration(checkout, choice, config))


def is_wanted(site: Site) -> bool:
    """Whether this site runs Compliant Kubernetes at all."""
    return site.config.site.ck8s != Ck8sSection() or bool(checkout_of(site))


def checkout_of(site: Site) -> str:
    """The checkout that isthmus.yaml names, or the one among the platform's sources; nothing where neither."""
    if site.config.site.ck8s.checkout:
        return site.config.site.ck8s.checkout
    for text in site.config.platform.sources:
        spec = SourceSpec.parse(text)
        if spec.kind == "ck8s":
            return os.path.join(site.base, os.path.expanduser(spec.value))
    return ""


def former_text(config: str, file: File) -> str:
    """An override file as it is, or nothing. Raises UsageError `invalid-input`."""
    path = os.path.join(config, f"{file}-config.yaml") if config else ""
    if not path or not os.path.isfile(path):
        return ""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("invalid-input", f"it cannot be read: {error}", where=path) from error


__all__ = ["CLUSTERS", "FILES", "Composed", "checkout_of", "compose", "former_text", "is_wanted"]
