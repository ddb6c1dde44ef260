"""From the text that a chart became to `Document`s, with hooks and the place in the chart.

Not here: rendering, and rules.
"""

from collections.abc import Iterable, Iterator

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item, When
from isthmus.scan.document import Document, text_at
from isthmus.scan.helm.request import Template
from isthmus.scan.yaml_reader import parse, split

HOOK = "helm.sh/hook"


def documents(templates: Iterable[Template], label: str) -> Iterator[Document | Item]:
    """Every object of the templates; `label` is what evidence shows before the path of the template."""
    for template in templates:
        source = f"{label} {template.path}".rstrip()
        for piece in split(template.text):
            try:
                values = parse(piece, source)
            except UsageError as error:
                yield Item(
                    what=error.where or source,
                    why=f"what the template became cannot be parsed: {error.message}",
                    finding=Finding(source=source, rule="parse"),
                    hint=error.hint,
                )
                continue
            for value in values:
                if isinstance(value, dict | list):
                    yield _document(source, value)


def _document(source: str, value: dict[str, object] | list[object]) -> Document:
    hooks = _hooks(Document(source, value))
    when: When = "test" if any(hook.startswith("test") for hook in hooks) else "always"
    note = f"Helm hook: {', '.join(hooks)}" if hooks else ""
    return Document(source, value, when=when, note=note)


def _hooks(document: Document) -> list[str]:
    return [hook.strip() for hook in text_at(document.annotations, HOOK).split(",") if hook.strip()]
