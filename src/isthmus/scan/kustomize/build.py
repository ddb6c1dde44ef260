"""Builds a kustomization with an installed `kustomize` or `kubectl kustomize`.

Not here: looking at it first (`graph`).
"""

import shutil
import tempfile

from isthmus.scan.helm.binary import run_limited
from isthmus.scan.helm.request import RenderError

BUILD_TIMEOUT = 120.0
INSTALL_HINT = "install kustomize (https://kustomize.io) or kubectl"


def find_builder() -> list[str]:
    """The command that builds a kustomization on this machine, empty where there is none."""
    kustomize = shutil.which("kustomize")
    if kustomize:
        return [kustomize, "build"]
    kubectl = shutil.which("kubectl")
    return [kubectl, "kustomize"] if kubectl else []


def build(directory: str) -> str:
    """The YAML that the kustomization of a directory becomes; raises RenderError."""
    command = find_builder()
    if not command:
        raise RenderError("there is neither kustomize nor kubectl to build it with", hint=INSTALL_HINT)
    with tempfile.TemporaryDirectory(prefix="isthmus-kustomize-") as folder:
        return run_limited([*command, directory], folder, BUILD_TIMEOUT)
