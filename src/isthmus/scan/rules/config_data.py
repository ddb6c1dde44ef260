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
_LINE = re.compile(r"""([\w.-]*image[\w.-]*)["']?[ \t]*[:=][ \t]*["']?([^\s"'{}$,;<>()]+)["']?""", re.IGNORECASE)


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that the entries name."""
    if not view.is_config:
        return
    for tree in view.trees:
        for mention in mentions(tree.data, tree.path):
            finding = view.finding(mention.path, RULE, mention.confidence, note=mention.note)
            yield view.image(mention.text, finding)
    for text in view.texts:
        for name, value in _LINE.findall(text.text):
            if names_image(name) and look(value) is Look.STRONG:
                yield view.image(value, view.finding(text.path, TEXT_RULE, "likely"))
