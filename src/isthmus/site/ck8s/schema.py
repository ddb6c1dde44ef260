"""Validates a merged configuration against the JSON Schema of the checkout (draft 2020-12).

Needs the extra `ck8s`. Not here: values that are only placeholders.
"""

import os
from collections.abc import Iterator
from typing import Any

from isthmus.errors import UsageError
from isthmus.scan.ck8s.config import read_mapping

_LONGEST = 300


def violations(checkout: str, configuration: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and complaint for everything that the schema does not allow, in the order of the keys.

    Raises UsageError: `wrong-usage` without the extra, `file-not-found` or `invalid-input` for the schema.
    """
    try:
        import jsonschema_rs
    except ImportError as error:
        raise UsageError(
            "wrong-usage",
            "the configuration cannot be validated without the extra ck8s",
            hint="pip install 'isthmus[ck8s]'",
        ) from error
    path = os.path.join(checkout, "config", "schemas", "config.yaml")
    try:
        validator = jsonschema_rs.Draft202012Validator(read_mapping(path), validate_formats=True)
    except ValueError as error:
        raise UsageError("invalid-input", f"not a schema: {str(error)[:_LONGEST]}", where=path) from error
    found = (
        (_key(error.instance_path), str(error.message)[:_LONGEST])
        for error in validator.iter_errors(configuration)
    )
    yield from sorted(set(found))


def _key(path: Any) -> str:
    parts = (
        f"[{part}]" if isinstance(part, int) else f'."{part}"' if "." in part else f".{part}" for part in path
    )
    return "".join(parts) or "."
