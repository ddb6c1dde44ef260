"""Addresses outside that containers and custom resources are told, whatever for. Possible.

The rule of last resort: what another rule knows, it says better. ConfigMaps are left out, because their
addresses are mostly documentation. Not here: what any of them is for.
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside, is_url, without_secrets
from isthmus.scan.view import View, endpoint
from isthmus.scan.words import looks_secret

RULE = "outside-address"
ADVICE = "find out what it is for; then serve it inside, turn it off, or allow it"
_SETTING = re.compile(
    r"(?i)(?:.*[_.-])?(?:url|uri|server|endpoint|host|address|api|repository|s3url|repourl)|.*(?:Url|URL|Uri|URI|Endpoint)"
)


def find(view: View) -> Iterator[Endpoint]:
    """Every address outside in flags, variables and fields named like an address."""
    for argument in view.arguments:
        yield from _address(view, argument.flag, argument.value, argument.path)
    for variable in view.variables:
        yield from _address(view, variable.name, variable.value, variable.path)
    if not view.is_config:
        for leaf in view.leaves:
            if (
                "://" in leaf.text
                and _SETTING.fullmatch(leaf.key[:80])
                and not leaf.path.startswith((".metadata", ".status"))
            ):
                yield from _address(view, leaf.key, leaf.text, leaf.path)


def _address(view: View, name: str, value: str, path: str) -> Iterator[Endpoint]:
    if "://" in value and is_url(value) and is_outside(value) and "$" not in value:
        url = without_secrets(value, keep_path=not looks_secret(name) and "hook" not in value)
        yield endpoint(url, "unknown", view.finding(path, RULE, "possible"), ADVICE)
