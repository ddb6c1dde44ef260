"""The variables of a Kubespray checkout and an inventory, layered as Ansible layers them.

Role defaults, then the inventory's `all` group, its other groups, its hosts, the role's own variables, and
what is given in files last. Not here: evaluating them (`templating`).
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from isthmus.errors import IsthmusError, UsageError
from isthmus.inventory.model import Finding, Item
from isthmus.scan.input import read_text
from isthmus.scan.yaml_reader import parse_all

ROLES = ("kubespray_defaults", "kubespray-defaults")
DOWNLOAD_ROLE = "download"
_ENDINGS = (".yml", ".yaml", ".json")
_VAULT = "$ANSIBLE_VAULT;"
_GROUP_ORDER = ("all", "k8s_cluster", "etcd", "kube_control_plane", "kube_node", "calico_rr")


class Layers(msgspec.Struct, frozen=True):
    """The variables for every machine, those of single hosts, and what could not be read."""

    common: dict[str, Any]
    hosts: dict[str, dict[str, Any]]
    items: tuple[Item, ...]


def load(checkout: str, inventory: str, extra: list[str], label: str) -> Layers:
    """Read them; raises UsageError (`invalid-source`, `file-not-found`) or UnreachableError."""
    items: list[Item] = []
    role = _role(checkout)
    layers = [*_folder(os.path.join(checkout, "roles", DOWNLOAD_ROLE, "defaults"), items, label)]
    layers += _folder(os.path.join(role, "defaults"), items, label)
    hosts: dict[str, dict[str, Any]] = {}
    if inventory:
        root = _inventory_directory(inventory)
        layers += _groups(root, items, label)
        hosts = dict(_hosts(root, items, label))
    own = [*_folder(os.path.join(role, "vars"), items, label)]
    given = [_mapping(path, None, label) for path in extra]
    common = _stacked([*layers, *own, *given])
    return Layers(common, {host: _stacked([held, *own, *given]) for host, held in hosts.items()}, tuple(items))


def _role(checkout: str) -> str:
    for name in ROLES:
        role = os.path.join(checkout, "roles", name)
        if os.path.isdir(role):
            return role
    raise UsageError(
        "invalid-source",
        f"there is no roles/{ROLES[0]} in it, so it is not a checkout of Kubespray that is known",
        where=checkout,
        hint="versions from 2.13 on are known",
    )


def _inventory_directory(inventory: str) -> str:
    if not os.path.exists(inventory):
        raise UsageError("file-not-found", "there is no such inventory", where=inventory)
    return inventory if os.path.isdir(inventory) else os.path.dirname(os.path.abspath(inventory))


def _groups(root: str, items: list[Item], label: str) -> Iterator[dict[str, Any]]:
    folder = os.path.join(root, "group_vars")
    held = {re.sub(r"\.(?:ya?ml|json)$", "", name) for name in _names(folder)}
    known = [name for name in _GROUP_ORDER if name in held]
    for name in [*known[:2], *sorted(held - set(_GROUP_ORDER)), *known[2:]]:
        yield from _folder(os.path.join(folder, name), items, label)


def _hosts(root: str, items: list[Item], label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = os.path.join(root, "host_vars")
    for host in sorted({re.sub(r"\.(?:ya?ml|json)$", "", name) for name in _names(folder)}):
        yield host, _stacked([*_folder(os.path.join(folder, host), items, label)])


def _folder(path: str, items: list[Item], label: str) -> Iterator[dict[str, Any]]:
    """The files that Ansible reads for a name: `path.yml`, or those of the directory, in their order."""
    for ending in _ENDINGS:
        if os.path.isfile(path + ending):
            yield _mapping(path + ending, items, label)
    main = os.path.join(path, "main")
    folder = main if os.path.isdir(main) else path
    for name in _names(folder):
        if name.endswith(_ENDINGS) and os.path.isfile(os.path.join(folder, name)):
            yield _mapping(os.path.join(folder, name), items, label)


def _names(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if os.path.isdir(folder) else []


def _mapping(path: str, items: list[Item] | None, label: str) -> dict[str, Any]:
    """A file of variables; what cannot be read becomes an item where there is a list for it."""
    try:
        text = read_text(path)
        if text.startswith(_VAULT):
            raise UsageError(
                "invalid-input", "it is encrypted by ansible-vault, so that its variables are not known"
            )
        documents = parse_all(text, path)
        if not documents:
            return {}
        if len(documents) > 1 or not isinstance(documents[0], dict):
            raise UsageError("invalid-input", "it is not one mapping of variables")
    except IsthmusError as error:
        if items is None:
            raise error.at(path) from error
        items.append(
            Item(what=path, why=error.message, finding=Finding(source=label, rule="parse"), hint=error.hint)
        )
        return {}
    mapping: dict[str, Any] = documents[0]
    return mapping


def _stacked(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Ansible replaces whole variables, it does not merge them."""
    result: dict[str, Any] = {}
    for layer in layers:
        result.update(layer)
    return result
