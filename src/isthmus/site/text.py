"""How generated files are written down: YAML with a heading, the same bytes for the same content.

Not here: what any file says.
"""

from collections.abc import Iterable, Mapping
from typing import Any

HEADING = "Written by `isthmus configure`; change isthmus.yaml and run it again."


def heading(*lines: str, mark: str = "#") -> str:
    """Comment lines, ending with where the file comes from."""
    return "".join(f"{mark} {line}".rstrip() + "\n" for line in (*lines, HEADING))


def yaml_text(document: Any, *comment: str) -> str:
    """One YAML document below a heading; keys stay in the order given, text with several lines is a block."""
    return heading(*comment) + _dump(document)


def yaml_documents(documents: Iterable[Any], *comment: str) -> str:
    """Several documents below a heading."""
    return heading(*comment) + "".join(f"---\n{_dump(document)}" for document in documents)


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {}, ())}


def _dump(document: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Without anchors, which some readers of configuration refuse."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    Dumper.add_representer(str, _text)
    Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(value))
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
