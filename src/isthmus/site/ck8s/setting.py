"""One key of Compliant Kubernetes' configuration and the value that this site needs. Only values."""

from dataclasses import dataclass
from typing import Any, Literal

File = Literal["common", "sc", "wc"]
FILES: tuple[File, ...] = ("common", "sc", "wc")

CLOSED = ("0.0.0.0/32",)
"""A network that nothing is in. An empty list would leave a rule without peers, which lets everything through."""


@dataclass(frozen=True)
class Setting:
    """`path` is below the root of `file`-config.yaml; `comment` is written above the key where it is new."""

    file: File
    path: tuple[str, ...]
    value: Any
    comment: str = ""

    @property
    def key(self) -> str:
        """The path as yq writes it, without the leading dot."""
        return ".".join(f'"{part}"' if "." in part else part for part in self.path)


def common(path: str, value: Any, comment: str = "") -> Setting:
    """A setting of both clusters; parts of the path are separated by dots."""
    return Setting("common", tuple(path.split(".")), value, comment)


def service(path: str, value: Any, comment: str = "") -> Setting:
    """A setting of the service cluster."""
    return Setting("sc", tuple(path.split(".")), value, comment)


def workload(path: str, value: Any, comment: str = "") -> Setting:
    """A setting of the workload cluster."""
    return Setting("wc", tuple(path.split(".")), value, comment)
