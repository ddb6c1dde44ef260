"""Identity providers outside: issuers of OpenID Connect, connectors of Dex, OAuth addresses. Likely.

Not here: certificates (`acme`).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_outside, is_url, leaves, without_secrets
from isthmus.scan.document import list_at, mapping_at, text_at
from isthmus.scan.view import View, endpoint

RULE = "identity-provider"
ADVICE = "use an identity provider inside"
_ISSUER = re.compile(
    r"(?:.*[._-])?(?:oidc[._-]?)?(?:issuer(?:[._-]?ur[il])?|oidc[._-]?endpoint|auth(?:orization)?[._-]?url|"
    r"token[._-]?url|idp[._-]?(?:metadata[._-]?)?url|sso[._-]?url)",
    re.IGNORECASE,
)
_CONNECTORS = {
    "github": "https://github.com/",
    "gitlab": "https://gitlab.com/",
    "google": "https://accounts.google.com/",
    "microsoft": "https://login.microsoftonline.com/",
    "linkedin": "https://www.linkedin.com/",
    "bitbucket-cloud": "https://bitbucket.org/",
}


def find(view: View) -> Iterator[Endpoint]:
    """Every identity provider that is not inside by its name."""
    for path, mapping in view.mappings:
        for index, connector in enumerate(list_at(mapping, "connectors")):
            default = _CONNECTORS.get(text_at(connector, "type"))
            if default and not any(is_url(leaf.text) for leaf in leaves(mapping_at(connector, "config"))):
                finding = view.finding(f"{path}.connectors[{index}]", RULE)
                yield endpoint(default, "identity-provider", finding, ADVICE)
    for leaf in view.leaves:
        yield from _address(view, leaf.key, leaf.text, leaf.path)
    for argument in view.arguments:
        yield from _address(view, argument.flag, argument.value, argument.path)
    for variable in view.variables:
        yield from _address(view, variable.name, variable.value, variable.path)


def _address(view: View, name: str, value: str, path: str) -> Iterator[Endpoint]:
    if "://" in value and len(name) <= 100 and _ISSUER.fullmatch(name) and is_url(value) and is_outside(value):
        finding = view.finding(path, RULE, "likely")
        yield endpoint(without_secrets(value), "identity-provider", finding, ADVICE)
