"""Images in what ConfigMaps and Secrets hold: entries, and YAML, JSON, TOML or properties in them. Likely.

Kubernetes objects in them are scanned by every rule (see `run`). Not here: settings of downloads
(`falcoctl`, `trivy`…).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Item, Ref
from isthmus.scan.recognise import Look, look
from isthmus.scan.settings import mentions
from isthmus.scan.view import View
from isthmus.scan.words import names_image

RULE = "config-data"
TEXT_RULE = "config-text"
_IMAGE = re.compile("image", re.IGNORECASE)
_BEFORE = re.compile(r"[\w.-]*\Z")
_AFTER = re.compile(r"""([\w.-]{0,100})["']?[ \t]{0,20}[:=][ \t]{0,20}["']?([^\s"'{}$,;<>()]{1,512})""")


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that the entries name."""
    if not view.is_config:
        return
    for tree in view.trees:
        for mention in mentions(tree.data, tree.path):
            finding = view.finding(mention.path, RULE, mention.confidence, note=mention.note)
            yield view.image(mention.text, finding)
    for text in view.texts:
        for name, value in _settings(text.text):
            if names_image(name) and look(value) is Look.STRONG:
                yield view.image(value, view.finding(text.path, TEXT_RULE, "likely"))


def _settings(text: str) -> Iterator[tuple[str, str]]:
    """Names with `image` in them and what is set to them, found from the word outwards in linear time."""
    for match in _IMAGE.finditer(text):
        after = _AFTER.match(text, match.end())
        if after is not None:
            before = _BEFORE.search(text[max(0, match.start() - 100) : match.start()])
            head = before.group() if before else ""
            yield f"{head}{match.group()}{after.group(1)}", after.group(2)
