"""`Document`: one parsed object of the platform, with where it came from.

What every source yields and every rule reads. Not here: parsing (`yaml_reader`) and rules (`rules/`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus.inventory.model import When


class Document(msgspec.Struct, frozen=True):
    """One parsed YAML or JSON object.

    `source` is the label that evidence shows, such as `manifests:a.yaml` or `helm:./chart`. `when` and
    `note` go to every finding in the document, so that a source can mark what is conditional or a test.
    """

    source: str
    data: Any
    when: When = "always"
    note: str = ""

    @property
    def kind(self) -> str:
        """The object's `kind`, or nothing where it has none."""
        return text_at(self.data, "kind")

    @property
    def api_version(self) -> str:
        """The object's `apiVersion`, or nothing where it has none."""
        return text_at(self.data, "apiVersion")

    @property
    def group(self) -> str:
        """The API group: `apps` of `apps/v1`, nothing for the core group."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """`metadata.name`, or `generateName` where that is all there is."""
        return text_at(self.metadata, "name") or text_at(self.metadata, "generateName")

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The object's `metadata`, empty where it is missing or of another type."""
        return mapping_at(self.data, "metadata")

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The object's annotations, empty where there are none."""
        return mapping_at(self.metadata, "annotations")

    @property
    def object_id(self) -> str:
        """`Kind/namespace/name`, without the parts that the object does not have."""
        return "/".join(part for part in (self.kind, text_at(self.metadata, "namespace"), self.name) if part)


def mapping_at(data: Any, key: str) -> Mapping[str, Any]:
    """The mapping under `key`, or an empty one for anything else."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def list_at(data: Any, key: str) -> list[Any]:
    """The list under `key`, or an empty one for anything else."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []


def text_at(data: Any, key: str) -> str:
    """The text under `key`, or nothing for anything else."""
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""
