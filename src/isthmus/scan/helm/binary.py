"""`BinaryRenderer`: an installed `helm`, run with limits.

Not here: charts inside registries (`fetch`) and when this renderer is chosen (`engine`).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from isthmus.scan.helm import limited
from isthmus.scan.helm.request import ChartRequest, RenderError, Template

MEMORY_LIMIT = 8 << 30
PROCESSOR_LIMIT = 300
CHART_TIMEOUT = 120.0
MAX_OUTPUT = 64 << 20

_SOURCE = re.compile(r"^---\n# Source: (.*)$", re.MULTILINE)


def find_helm() -> str | None:
    """The path of an installed helm."""
    return shutil.which("helm")


class BinaryRenderer:
    """Renders charts with `helm template`, a process a chart."""

    name = "helm"

    def __init__(self, program: str, timeout: float = CHART_TIMEOUT) -> None:
        self._program = program
        self._timeout = timeout

    def render(self, request: ChartRequest) -> list[Template]:
        """See `Renderer`."""
        with tempfile.TemporaryDirectory(prefix="isthmus-helm-") as folder:
            command = [self._program, "template", request.name, request.chart, "--namespace", request.namespace]
            for number, text in enumerate(_value_texts(request)):
                path = os.path.join(folder, f"values-{number}.yaml")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                command += ["--values", path]
            for kind, expression in request.sets:
                command += [f"--{kind}", expression]
            if request.kube_version:
                command += ["--kube-version", request.kube_version]
            for version in request.api_versions:
                command += ["--api-versions", version]
            command += ["--include-crds"] if request.crds else []
            found = split_output(run_limited(command, folder, self._timeout))
            return [Template(template.path.partition("/")[2], template.text) for template in found]

    def close(self) -> None:
        """Nothing stays open."""


def run_limited(command: list[str], folder: str, timeout: float, home: bool = False) -> str:
    """Standard output of a command; raises RenderError with what it wrote to standard error.

    Output goes to a file in `folder`. Without `home` the program sees nothing of the user's settings.
    """
    output = os.path.join(folder, "output")
    variables = dict(os.environ)
    if not home:
        variables |= {"HOME": folder, "KUBECONFIG": "/dev/null", "HELM_PLUGINS": folder}
    limits = [str(MEMORY_LIMIT), str(PROCESSOR_LIMIT)]
    with open(output, "wb") as file:
        try:
            result = subprocess.run(
                [sys.executable, "-I", limited.__file__, *limits, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                timeout=timeout,
                check=False,
                env=variables,
            )
        except subprocess.TimeoutExpired as error:
            raise RenderError(f"{os.path.basename(command[0])} took longer than {timeout:g} seconds") from error
        except OSError as error:
            raise RenderError(f"{os.path.basename(command[0])} cannot be run: {error.strerror}") from error
    if result.returncode != 0:
        raise RenderError(_message(result.stderr) or f"it ended with status {result.returncode}")
    if os.path.getsize(output) > MAX_OUTPUT:
        raise RenderError(f"the rendered text is larger than {MAX_OUTPUT >> 20} MiB")
    with open(output, encoding="utf-8", errors="replace") as text:
        return text.read()


def split_output(text: str) -> list[Template]:
    """What `helm template` printed, taken apart at its `# Source:` comments, which begin with the chart's name."""
    parts = _SOURCE.split(text)
    heading = parts.pop(0)
    found = [Template(path.strip(), part) for path, part in zip(parts[::2], parts[1::2], strict=True)]
    if heading.strip() and heading.strip() != "---":
        found.insert(0, Template("templates", heading))
    return found


def _value_texts(request: ChartRequest) -> list[str]:
    return [*request.values, *([json.dumps(dict(request.data))] if request.data else [])]


def _message(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").splitlines()
    said = [line for line in lines if line and not line.startswith(("WARNING:", "Use --debug", "walk.go"))]
    return " ".join(said).removeprefix("Error: ")[:2000]
