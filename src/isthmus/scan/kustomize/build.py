"""Builds a kustomization with an installed `kustomize` or `kubectl kustomize`, otherwise as far as `subset` can.

Not here: looking at it first (`graph`).
"""

import shutil
import tempfile
from typing import Any

from isthmus.errors import UsageError
from isthmus.scan.helm.binary import run_limited
from isthmus.scan.helm.request import RenderError
from isthmus.scan.kustomize import subset
from isthmus.scan.yaml_reader import parse_all

BUILD_TIMEOUT = 120.0
INSTALL_HINT = "there is neither kustomize (https://kustomize.io) nor kubectl on this machine; install one of them"


def find_builder() -> list[str]:
    """The command that builds a kustomization on this machine, empty where there is none."""
    kustomize = shutil.which("kustomize")
    if kustomize:
        return [kustomize, "build"]
    kubectl = shutil.which("kubectl")
    return [kubectl, "kustomize"] if kubectl else []


def build(directory: str) -> list[Any]:
    """The objects that the kustomization of a directory becomes; raises RenderError."""
    command = find_builder()
    if not command:
        try:
            return list(subset.build(directory))
        except RenderError as error:
            raise RenderError(error.message, error.hint or INSTALL_HINT) from error
    with tempfile.TemporaryDirectory(prefix="isthmus-kustomize-") as folder:
        text = run_limited([*command, directory], folder, BUILD_TIMEOUT)
    try:
        return parse_all(text, directory)
    except UsageError as error:
        raise RenderError(f"what it became cannot be parsed: {error}") from error
