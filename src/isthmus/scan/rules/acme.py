"""ACME servers that certificates are asked from: `acme.server` of an issuer, and flags for it. Certain or likely.

Not here: the images that answer challenges (`arguments`).
"""

from collections.abc import Iterator

from isthmus.inventory.model import Endpoint
from isthmus.scan.addresses import is_url, without_secrets
from isthmus.scan.document import mapping_at, text_at
from isthmus.scan.view import View, endpoint
from isthmus.scan.words import words

RULE = "acme"
ADVICE = "issue from a certificate authority of the site: an issuer of kind CA, or an ACME server inside"


def find(view: View) -> Iterator[Endpoint]:
    """Every ACME directory."""
    for path, mapping in view.mappings:
        server = text_at(mapping_at(mapping, "acme"), "server")
        if is_url(server):
            finding = view.finding(f"{path}.acme.server", RULE)
            yield endpoint(without_secrets(server), "acme", finding, ADVICE)
    for argument in view.arguments:
        if "acme" in words(argument.flag) and is_url(argument.value):
            finding = view.finding(argument.path, RULE, "likely")
            yield endpoint(without_secrets(argument.value), "acme", finding, ADVICE)
