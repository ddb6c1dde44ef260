"""Brings a chart to a directory: one that is there, a .tgz archive, or `oci://` with an installed helm.

Not here: rendering it.
"""

import os

from isthmus.errors import UsageError
from isthmus.scan.helm.archive import unpack_chart
from isthmus.scan.helm.binary import find_helm, run_limited
from isthmus.scan.helm.request import RenderError

PULL_TIMEOUT = 300.0


def chart_directory(value: str, version: str, folder: str) -> str:
    """The directory of a chart; archives are unpacked into `folder`.

    Raises UsageError (`file-not-found`, `invalid-source`, `invalid-input`), UnreachableError, or
    RenderError where the chart could not be brought.
    """
    if value.startswith("oci://"):
        return unpack_chart(_pull(value, version, folder), os.path.join(folder, "chart"))
    if os.path.isdir(value):
        if not os.path.isfile(os.path.join(value, "Chart.yaml")):
            raise UsageError(
                "invalid-source", "the directory holds no Chart.yaml, so it is not a chart", where=value
            )
        return os.path.abspath(value)
    if not os.path.exists(value):
        raise UsageError("file-not-found", "there is no such chart", where=value)
    return unpack_chart(value, os.path.join(folder, "chart"))


def _pull(reference: str, version: str, folder: str) -> str:
    program = find_helm()
    if program is None:
        raise RenderError(
            "charts inside a registry are brought with helm, which is not installed",
            hint="install helm, or bring the chart's .tgz by other means and name that file as the source",
        )
    name, _, tag = reference.partition("@")[0].rpartition(":")
    if "/" not in tag and name != "oci":  # helm takes the tag apart
        reference, version = name, version or tag
    command = [program, "pull", reference, "--destination", folder]
    command += ["--version", version] if version else []
    run_limited(command, folder, PULL_TIMEOUT, home=True)
    for entry in sorted(os.listdir(folder)):
        if entry.endswith(".tgz"):
            return os.path.join(folder, entry)
    raise RenderError("helm pulled no archive")
