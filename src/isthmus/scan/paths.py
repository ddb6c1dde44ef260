"""Paths into objects, written as `yq` reads them: `.spec.containers[0].image`, `.data["a.yaml"] | from_yaml | .x`.

Not here: walking (`walk`) and rules.
"""

import json
import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


def key_path(path: str, key: str) -> str:
    """The path of `key` in the mapping at `path`."""
    if _NAME.fullmatch(key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def index_path(path: str, index: int) -> str:
    """The path of an element of the list at `path`."""
    return f"{path}[{index}]"


def inside(path: str, form: str) -> str:
    """The path of what the text at `path` holds in a form such as `yaml`, `json`, `toml` or `props`."""
    return f"{path} | from_{form} | "
