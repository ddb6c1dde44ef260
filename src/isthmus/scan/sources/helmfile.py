"""`helmfile:FILE[?environment=E&selector=S&state-values=F]`: what an installed helmfile makes of its file.

Not here: compliantkubernetes-apps, whose helmfile needs no helmfile (`sources.ck8s`).
"""

import os
import shutil
import tempfile
from collections.abc import Iterator

from isthmus.errors import UsageError
from isthmus.inventory.model import Finding, Item
from isthmus.scan.document import Document
from isthmus.scan.helm.binary import run_limited, split_output
from isthmus.scan.helm.documents import documents
from isthmus.scan.helm.request import RenderError, Template
from isthmus.scan.source import SourceSpec

OPTIONS = ("environment", "selector", "state-values")
TIMEOUT = 1200.0
"""Seconds for all releases, with the charts that helmfile brings."""
INSTALL_HINT = (
    "install helmfile (https://helmfile.readthedocs.io) and helm, or run `helmfile template` where they are"
    " and scan what it prints with manifests:"
)


def read(spec: SourceSpec) -> Iterator[Document | Item]:
    """The documents of every release, or the item that says why there are none.

    Raises UsageError (`file-not-found`, `invalid-source`).
    """
    spec.allow(*OPTIONS)
    if not os.path.exists(spec.value):
        raise UsageError("file-not-found", "there is no such file or directory", where=spec.value)
    label = f"helmfile:{spec.value}"
    try:
        templates = _template(spec)
    except RenderError as error:
        yield Item(
            what=spec.value,
            why=f"the helmfile did not render: {error.message}",
            finding=Finding(source=label, rule="render"),
            hint=error.hint or "see what `helmfile template` says where the file is used",
        )
        return
    yield from documents(templates, label)


def _template(spec: SourceSpec) -> list[Template]:
    program = shutil.which("helmfile")
    if program is None:
        raise RenderError("there is no helmfile to render it with", hint=INSTALL_HINT)
    command = [program, "--file", spec.value, "--no-color"]
    if spec.one("environment"):
        command += ["--environment", spec.one("environment")]
    for selector in spec.many("selector"):
        command += ["--selector", selector]
    for path in spec.many("state-values"):
        command += ["--state-values-file", path]
    with tempfile.TemporaryDirectory(prefix="isthmus-helmfile-") as folder:
        # Repositories and their credentials are the user's, hence the user's home.
        return split_output(run_limited([*command, "template", "--include-crds"], folder, TIMEOUT, home=True))
