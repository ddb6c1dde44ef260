"""Images in the environment of containers: RELATED_IMAGE_…, …_IMAGE and others, also in parts. Likely.

Values that hold a list, such as `3.9.0=quay.io/strimzi/kafka:…` a line, are taken apart. Not here:
variables that come from a ConfigMap (`config_data` reads that).
"""

import re
from collections.abc import Iterator

from isthmus.inventory.model import Confidence, Item, Ref
from isthmus.scan.document import list_at, text_at
from isthmus.scan.paths import key_path
from isthmus.scan.recognise import Look, look
from isthmus.scan.rules.arguments import condition
from isthmus.scan.split_fields import joined_names
from isthmus.scan.view import View
from isthmus.scan.words import is_policy, names_image

RULE = "environment"
SPLIT_RULE = "environment-split"
_ITEM = re.compile(r"(?:^|[\s,;])(?:[\w.*-]+=)?([^\s,;=]+)")


def find(view: View) -> Iterator[Ref | Item]:
    """Every image that a variable names."""
    for variable in view.variables:
        yield from _variable(view, variable.name, variable.value, variable.path)
    for container in view.containers:
        variables = list_at(container.data, "env")
        values = {text_at(variable, "name"): text_at(variable, "value") for variable in variables}
        for joined in joined_names({name: value for name, value in values.items() if value}):
            confidence: Confidence = "likely" if joined.sure and joined.look > Look.WEAK else "possible"
            note = "put together from " + ", ".join(joined.keys)
            path = key_path(container.path, "env")
            yield view.image(joined.text, view.finding(path, SPLIT_RULE, confidence, note=note))


def _variable(view: View, name: str, value: str, path: str) -> Iterator[Ref | Item]:
    if is_policy(name):
        return
    is_image = names_image(name)
    when, note = condition(name)
    seen = look(value)
    if seen is Look.NONE:
        if "@" in value or ":" in value:
            for item in _ITEM.findall(value[:20_000]):
                if look(item) is Look.STRONG:
                    yield view.image(item, view.finding(path, RULE, "likely", when, note or "one of a list"))
    elif is_image or seen is Look.STRONG:
        confidence: Confidence = "possible" if seen is Look.WEAK else "likely"
        yield view.image(value, view.finding(path, RULE, confidence, when, note))
