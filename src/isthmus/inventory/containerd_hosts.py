"""One `hosts.toml` of containerd, written from `MirrorMap`, and the directory that it belongs into.

Here and not in `site`, since the console of `serve` shows the same files. Not here: which hosts need one.
"""

import json

from isthmus.inventory.mapping import MirrorMap


def host_directory(host: str) -> str:
    """The directory that containerd looks into first: a port as `_port_`, which every file system can hold."""
    name, colon, port = host.rpartition(":")
    return f"{name}_{port}_" if colon and name else host


def hosts_toml(
    mapping: MirrorMap, registry: str, host: str | None, *, ca: str = "", skip_verify: bool = False
) -> str:
    """One file. Without a host it is the one for hosts that are not known, whose names the site gets by `?ns=`.

    Where the mapping puts something before the path, the API's root is given with it and `override_path`;
    otherwise containerd adds `/v2` itself.
    """
    prefix = mapping.host_prefix(host) if host is not None else ""
    url = f"{registry.rstrip('/')}/v2/{prefix}" if prefix else registry.rstrip("/")
    settings = ['capabilities = ["pull", "resolve"]']
    if prefix:
        settings.append("override_path = true")
    if ca:
        settings.append(f"ca = {_toml(ca)}")
    if skip_verify:
        settings.append("skip_verify = true")
    what = host or "every host that has no directory of its own"
    # Keys of the server come before the first table. Its settings are the same, as it is the same place:
    # containerd asks it again after the host, and what it then says is what people get to see.
    lines = [
        f"# {what}: from this site's registry alone. Written by `isthmus configure`.",
        f"server = {_toml(url)}",
        *settings,
        "",
        f"[host.{_toml(url)}]",
        *(f"  {setting}" for setting in settings),
    ]
    return "".join(f"{line}\n" for line in lines)


def _toml(text: str) -> str:
    """A TOML basic string; for printable text, JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
