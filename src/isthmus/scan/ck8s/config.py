"""Composes the configuration of a cluster as `ck8s init` and helmfile do, from a checkout and what the user has.

The defaults of the user's CK8S_CONFIG_PATH are taken as they are; where there are none they are made from
the checkout, in the layers of `ck8s init`: base, flavour, installer, provider, provider's installer.
Secrets are never decrypted: their keys count, their values are replaced. Not here: rendering.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from isthmus.errors import UsageError
from isthmus.inventory.scalars import resolve_plain
from isthmus.scan.ck8s.merge import merged
from isthmus.scan.document import mapping_at, text_at
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all

CONFIG_VARIABLE = "CK8S_CONFIG_PATH"
CONFIG_MARK = "/ck8s-config-path"
"""What stands for CK8S_CONFIG_PATH in the paths that helmfile's environments name."""
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
ASSUMED: Mapping[str, Mapping[str, Any]] = {
    "common-config.yaml": {
        "objectStorage": {
            "type": "s3",
            "s3": {"region": "site", "regionEndpoint": "https://s3.example.com", "forcePathStyle": True},
        },
        "issuers": {
            "letsencrypt": {"prod": {"email": "admin@example.com"}, "staging": {"email": "admin@example.com"}}
        },
    },
    "secrets.yaml": {"objectStorage": {"s3": {"accessKey": "assumed", "secretKey": "assumed"}}},
}
"""Where no configuration is given: the least that the charts refuse to do without.

A site has object storage, for its backups and logs, and that is the kind a closed one can have; nothing
that is fetched depends on the rest.
"""
_SEALED = re.compile(r"ENC\[AES256_GCM,.*,type:(\w+)\]\Z", re.DOTALL)
_GENERATED = re.compile(r"""yq\s+(?:--inplace|-i)\s+"\.([\w.]+)\s*=\s*\\"\$""", re.ASCII)
"""The lines by which `ck8s init` sets a key of secrets.yaml to what it has generated."""
_SECRET = "s" * 32
"""A password of the length that some charts insist on."""
_SEALED_VALUES: Mapping[str, Any] = {"int": 1, "float": 1.0, "bool": True}


class Choice(msgspec.Struct, frozen=True):
    """What `ck8s init` is told by its environment variables."""

    flavor: str = "air-gapped"
    installer: str = "kubespray"
    provider: str = "baremetal"
    environment: str = "isthmus"

    @property
    def variables(self) -> dict[str, str]:
        """The variables that stand in the configuration's templates."""
        return {
            "CK8S_ENVIRONMENT_NAME": self.environment,
            "CK8S_CLOUD_PROVIDER": self.provider,
            "CK8S_K8S_INSTALLER": self.installer,
            "CK8S_FLAVOR": self.flavor,
            "CK8S_VERSION": "any",
            CONFIG_VARIABLE: CONFIG_MARK,
        }


class Configuration:
    """The files that helmfile would read from CK8S_CONFIG_PATH, by their names inside of it."""

    def __init__(self, checkout: str, choice: Choice, config: str = "") -> None:
        self._checkout = checkout
        self._config = config
        self.choice = _choice_of(config, choice) if config else choice
        _check_layers(checkout, self.choice)

    def file(self, name: str) -> dict[str, Any] | None:
        """One file, such as `defaults/sc-config.yaml`; None where the user's configuration lacks it.

        Raises UsageError (`invalid-input`) or UnreachableError (`io-failed`).
        """
        held = os.path.join(self._config, name) if self._config else ""
        if name == "secrets.yaml":
            return self._secrets(held)
        if held and os.path.isfile(held):
            return read_mapping(held)
        if name.startswith("defaults/"):
            return self._defaults(os.path.basename(name))
        return None if held else dict(ASSUMED.get(name, {}))

    def _defaults(self, name: str) -> dict[str, Any]:
        layers = [read_mapping(path) for path in self._layers(name) if os.path.isfile(path)]
        made: dict[str, Any] = substitute(merged(layers), self.choice.variables)
        return made

    def _layers(self, name: str) -> list[str]:
        base, choice = os.path.join(self._checkout, "config"), self.choice
        return [
            os.path.join(base, name),
            os.path.join(base, "flavors", choice.flavor, name),
            os.path.join(base, "k8s-installers", choice.installer, name),
            os.path.join(base, "providers", choice.provider, name),
            os.path.join(base, "providers", choice.provider, choice.installer, name),
        ]

    def _secrets(self, held: str) -> dict[str, Any]:
        names = ("secrets.yaml", os.path.join("providers", self.choice.provider, "secrets.yaml"))
        paths = [os.path.join(self._checkout, "config", name) for name in names]
        layers = [read_mapping(path) for path in paths if os.path.isfile(path)]
        layers.extend(_generated(os.path.join(self._checkout, "bin", "init.bash")))
        if held and os.path.isfile(held):
            layers.append(_unsealed(read_mapping(held)))
        elif not held:
            layers.append(dict(ASSUMED["secrets.yaml"]))
        return merged(layers)


def read_mapping(path: str) -> dict[str, Any]:
    """A file of one mapping, an empty one where the file holds nothing.

    Raises UsageError (`file-not-found`, `invalid-input`) or UnreachableError (`io-failed`).
    """
    documents = parse_all(read_text(path), path)
    if not documents:
        return {}
    if len(documents) > 1 or not isinstance(documents[0], dict):
        raise UsageError("invalid-input", "it does not hold one mapping", where=path)
    return documents[0]


def substitute(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace variables in every text as envsubst does: one that is not set becomes nothing.

    envsubst works on the text of the file, so a text that is nothing but a variable takes the type that
    its value looks like.
    """
    if isinstance(value, dict):
        return {_substituted(key, variables): substitute(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, variables) for item in value]
    if isinstance(value, str) and "$" in value:
        text = _substituted(value, variables)
        return resolve_plain(text) if _VARIABLE.fullmatch(value) else text
    return value


def _substituted(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match.group(1) or match.group(2), ""), text)


def _generated(path: str) -> Iterator[dict[str, Any]]:
    """The secrets that `ck8s init` generates, each with something in its place."""
    if not os.path.isfile(path):
        return
    for keys in _GENERATED.findall(read_text(path)):
        layer: Any = _SECRET
        for key in reversed(keys.split(".")):
            layer = {key: layer}
        yield layer


def _unsealed(value: Any) -> Any:
    """Values that sops encrypted, replaced by something of the same type; its own `sops` key left out."""
    if isinstance(value, dict):
        return {key: _unsealed(item) for key, item in value.items() if key != "sops"}
    if isinstance(value, list):
        return [_unsealed(item) for item in value]
    match = _SEALED.match(value) if isinstance(value, str) else None
    return _SEALED_VALUES.get(match.group(1), _SECRET) if match else value


def _choice_of(config: str, choice: Choice) -> Choice:
    """What the user's own common configuration says it was made with; raises UsageError (`file-not-found`)."""
    if not os.path.isdir(config):
        raise UsageError("file-not-found", "there is no such configuration directory", where=config)
    names = ("defaults/common-config.yaml", "common-config.yaml")
    paths = [os.path.join(config, name) for name in names]
    told = mapping_at(merged(read_mapping(path) for path in paths if os.path.isfile(path)), "global")
    return Choice(
        flavor=text_at(told, "ck8sFlavor") or choice.flavor,
        installer=text_at(told, "ck8sK8sInstaller") or choice.installer,
        provider=text_at(told, "ck8sCloudProvider") or choice.provider,
        environment=text_at(told, "ck8sEnvironmentName") or choice.environment,
    )


def _check_layers(checkout: str, choice: Choice) -> None:
    for folder, name, free in (
        ("flavors", choice.flavor, False),
        ("k8s-installers", choice.installer, choice.installer == "none"),
        ("providers", choice.provider, choice.provider == "none"),
    ):
        path = os.path.join(checkout, "config", folder)
        if not free and not os.path.isdir(os.path.join(path, name)):
            known = sorted(os.listdir(path)) if os.path.isdir(path) else []
            raise UsageError(
                "invalid-source",
                f"the checkout has no config/{folder}/{name[:100]}",
                where=checkout,
                hint=f"it is one of {', '.join(known)}"
                if known
                else "is this a checkout of compliantkubernetes-apps?",
            )
