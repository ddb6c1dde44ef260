"""Brings settings into an override file: comments and order stay, and only what differs is written.

Needs the extra `ck8s` (ruamel.yaml's round trip). Not here: which settings.
"""

import io
from collections.abc import Iterable
from typing import Any

from isthmus.errors import UsageError
from isthmus.site.ck8s.setting import Setting
from isthmus.site.text import HEADING

_ABSENT = object()


def override_text(former: str, settings: Iterable[Setting], below: dict[str, Any], where: str) -> str:
    """The text of an override file with the settings in it.

    `former` is the file as it is, or nothing; `below` is the configuration that it overrides: what is so
    already is left out of a new file. Raises UsageError: `wrong-usage` without the extra, `invalid-input`.
    """
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.comments import CommentedMap
        from ruamel.yaml.error import YAMLError
    except ImportError as error:
        raise UsageError(
            "wrong-usage",
            "override files cannot be written without the extra ck8s",
            hint="pip install 'isthmus[ck8s]'",
        ) from error
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(former) if former.strip() else None
    except YAMLError as error:
        raise UsageError("invalid-input", f"it is not YAML: {str(error)[:300]}", where=where) from error
    if document is None:
        document = CommentedMap()
        document.yaml_set_start_comment(f"{HEADING}\nThis file holds differences only.")
    if not isinstance(document, CommentedMap):
        raise UsageError("invalid-input", "it does not hold one mapping", where=where)
    added: dict[int, int] = {id(document): len(document)}
    for setting in settings:
        _set(document, setting, below, added)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _set(document: Any, setting: Setting, below: dict[str, Any], added: dict[int, int]) -> None:
    from ruamel.yaml.comments import CommentedMap

    held = _get(document, setting.path)
    if _same(held, setting.value) or (held is _ABSENT and _same(_get(below, setting.path), setting.value)):
        return
    place = document
    for part in setting.path[:-1]:
        if not isinstance(place.get(part), dict):
            _put(place, part, CommentedMap(), added)
        place = place[part]
    name = setting.path[-1]
    _put(place, name, _written(setting.value), added)
    if setting.comment and held is _ABSENT:
        place.yaml_set_comment_before_after_key(name, before=setting.comment, indent=2 * (len(setting.path) - 1))


def _put(place: Any, name: str, value: Any, added: dict[int, int]) -> None:
    """Set a key; new ones come first within a mapping, in their order, and last in the document.

    What follows the last key of a mapping, such as the comment of the next one outside, hangs on that key; at
    the end, a new key would come between.
    """
    if name in place:
        place[name] = value
        return
    position = added.get(id(place), 0)
    place.insert(position, name, value)
    added[id(place)] = position + 1


def _written(value: Any) -> Any:
    """Plain containers; text of several lines as a block."""
    from ruamel.yaml.scalarstring import LiteralScalarString

    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    return value


def _get(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(document, dict) or part not in document:
            return _ABSENT
        document = document[part]
    return document


def _same(held: Any, value: Any) -> bool:
    if held is _ABSENT:
        return False
    if isinstance(held, list | tuple) and isinstance(value, list | tuple):
        return len(held) == len(value) and all(map(_same, held, value))
    if isinstance(held, dict) and isinstance(value, dict):
        return held.keys() == value.keys() and all(_same(held[key], value[key]) for key in held)
    return bool(held == value) and isinstance(held, bool) == isinstance(value, bool)
