"""Reads isthmus.yaml and says, where it is wrong, which key, why, and what was probably meant.

Not here: the model itself (`config`).
"""

import os
import re
from typing import Any

import msgspec
from msgspec import inspect

from isthmus.errors import UnreachableError, UsageError
from isthmus.inventory.config import Addition, Config, CrossSection
from isthmus.inventory.local_paths import under
from isthmus.inventory.yaml_builder import build

MAX_CONFIG = 4 << 20
_PATH = re.compile(r" - at `\$(.*)`$")


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and check a configuration file; relative paths in it come out joined to its directory.

    The sources stay as they are written; `scan.source.SourceSpec.under` does the same for them.

    Raises UsageError (`file-not-found`, `invalid-config`) or UnreachableError (`io-failed`).
    """
    where = os.fspath(path)
    try:
        with open(where, "rb") as file:
            data = file.read(MAX_CONFIG + 1)
    except FileNotFoundError as error:
        raise UsageError(
            "file-not-found", "there is no such file", where=where, hint="write one with `isthmus init`"
        ) from error
    except OSError as error:
        raise UnreachableError("io-failed", f"it cannot be read: {error.strerror}", where=where) from error
    if len(data) > MAX_CONFIG:
        raise UsageError("invalid-config", f"it is larger than {MAX_CONFIG >> 20} MiB", where=where)
    return _rebased(parse_config(data, where), os.path.dirname(where))


def parse_config(data: bytes, where: str = "isthmus.yaml") -> Config:
    """The configuration in these bytes; raises UsageError (`invalid-config`)."""
    try:
        documents = build(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise UsageError("invalid-config", "it is not UTF-8 text", where=where) from error
    except UsageError as error:
        raise UsageError("invalid-config", error.message, where=error.where, hint=error.hint) from error
    document = documents[0] if documents else {}
    if len(documents) > 1 or not isinstance(document, dict):
        raise UsageError("invalid-config", "it is not one YAML mapping", where=where)
    document = _without_empty_sections(document)
    _refuse_unknown(document, inspect.type_info(Config), "", where)
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PATH.search(text)
        key = place.group(1).lstrip(".") if place else ""
        reason = _PATH.sub("", text)
        hint = "put the value in quotes" if reason.startswith("Expected `str`, got `") else ""
        message = f"{key}: {reason}" if key else reason
        raise UsageError("invalid-config", message, where=where, hint=hint) from error
    for index, addition in enumerate(config.platform.add):
        _check_addition(addition, f"platform.add[{index}]", where)
    return config


def _rebased(config: Config, directory: str) -> Config:
    replace = msgspec.structs.replace
    site, platform = config.site, config.platform
    auth = _rebased_secret(site.registry.auth, directory)
    registry = replace(site.registry, ca=under(directory, site.registry.ca), auth=auth)
    registries = {
        host: replace(
            access,
            auth=_rebased_secret(access.auth, directory),
            ca=under(directory, access.ca),
            client_certificate=under(directory, access.client_certificate),
            client_key=under(directory, access.client_key),
        )
        for host, access in platform.registries.items()
    }
    ck8s = replace(
        site.ck8s, config=under(directory, site.ck8s.config), checkout=under(directory, site.ck8s.checkout)
    )
    storage = replace(site.object_storage, auth=_rebased_secret(site.object_storage.auth, directory))
    pki = replace(site.pki, directory=under(directory, site.pki.directory))
    receivers = tuple(
        replace(receiver, auth=_rebased_secret(receiver.auth, directory)) for receiver in site.alerts.receivers
    )
    catalogue = tuple(under(directory, path) for path in platform.catalogue)
    additions = tuple(_rebased_addition(addition, directory) for addition in platform.add)
    return replace(
        config,
        platform=replace(platform, add=additions, catalogue=catalogue, registries=registries),
        site=replace(
            site,
            registry=registry,
            ck8s=ck8s,
            object_storage=storage,
            pki=pki,
            alerts=replace(site.alerts, receivers=receivers),
        ),
        cross=_rebased_crossing(config.cross, directory),
    )


def _rebased_crossing(cross: CrossSection, directory: str) -> CrossSection:
    return msgspec.structs.replace(
        cross,
        to=cross.to if "://" in cross.to else under(directory, cross.to),
        bundles=under(directory, cross.bundles),
        site=under(directory, cross.site),
        sign=tuple(under(directory, path) for path in cross.sign),
        since=tuple(under(directory, path) for path in cross.since),
        receipt_keys=tuple(under(directory, path) for path in cross.receipt_keys),
    )


def _rebased_addition(addition: Addition, directory: str) -> Addition:
    replace = msgspec.structs.replace
    verify, packages = addition.verify, addition.packages
    minisign = verify.minisign
    verify = replace(
        verify,
        gpg=under(directory, verify.gpg),
        cosign=under(directory, verify.cosign),
        minisign=minisign if minisign.startswith("RW") else under(directory, minisign),
    )
    if packages is not None:
        packages = replace(
            packages,
            keyring=under(directory, packages.keyring),
            installed=under(directory, packages.installed),
            sign=under(directory, packages.sign),
        )
    return replace(addition, verify=verify, packages=packages)


def _rebased_secret(reference: str | None, directory: str) -> str | None:
    if reference is None or not reference.startswith("file:"):
        return reference
    return f"file:{under(directory, reference.removeprefix('file:'))}"


def _without_empty_sections(value: dict[str, Any]) -> dict[str, Any]:
    """A key with nothing behind it, as in a file whose entries are all comments, means the default."""
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            kept[key] = _without_empty_sections(item)
        elif item is not None:
            kept[key] = item
    return kept


def _refuse_unknown(value: Any, kind: Any, path: str, where: str) -> None:
    if isinstance(kind, inspect.Metadata):
        _refuse_unknown(value, kind.type, path, where)
    elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {entry.encode_name: entry.type for entry in kind.fields}
        for key, item in value.items():
            place = f"{path}.{key}" if path else str(key)
            if key not in fields:
                import difflib

                close = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
                known = f"the keys here are {', '.join(sorted(fields))}"
                raise UsageError(
                    "invalid-config",
                    f"there is no key {place[:200]!r}",
                    where=where,
                    hint=f"did you mean {close[0]!r}?" if close else known,
                )
            _refuse_unknown(item, fields[key], place, where)
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        for key, item in value.items():
            _refuse_unknown(item, kind.value_type, f"{path}.{key}", where)
    elif isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unknown(item, kind.item_type, f"{path}[{index}]", where)


def _check_addition(addition: Addition, place: str, where: str) -> None:
    kinds = ("image", "artifact", "file", "chart", "git", "packages")
    given = [kind for kind in kinds if getattr(addition, kind)]
    if len(given) != 1:
        raise UsageError(
            "invalid-config",
            f"{place} names {len(given)} things instead of one",
            where=where,
            hint=f"give exactly one of {', '.join(kinds)}",
        )
    for kind in ("file", "chart", "git"):
        url = getattr(addition, kind)
        scheme, _, rest = url.partition("://")
        user, at, _ = rest.partition("/")[0].rpartition("@")
        if at and (scheme in ("http", "https") or ":" in user):
            raise UsageError(
                "invalid-config",
                f"{place}.{kind} has a user or a password in its address",
                where=where,
                hint="name the secret under platform.registries, as auth of that host",
            )
    packages = addition.packages
    if packages and (bool(packages.debian) == bool(packages.rpm) or bool(packages.debian) != bool(packages.suite)):
        raise UsageError(
            "invalid-config",
            f"{place}.packages must have debian and suite, or rpm",
            where=where,
            hint="packages: {debian: https://deb.debian.org/debian, suite: bookworm, names: [chrony]}",
        )
