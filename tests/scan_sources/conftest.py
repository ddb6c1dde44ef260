"""Fixtures of the sources' tests: tiny charts, and the renderers that this machine has."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from isthmus.scan.helm.binary import BinaryRenderer, find_helm
from isthmus.scan.helm.request import Renderer
from isthmus.scan.helm.sdk import SdkRenderer, is_available

MakeChart = Callable[[Mapping[str, str]], Path]

CHART_FILE = "apiVersion: v2\nname: web\nversion: 0.1.0\n"
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
spec:
  containers:
    - name: main
      image: {{ .Values.image.repository }}:{{ .Values.image.tag }}
"""
VALUES = "image:\n  repository: example.org/web\n  tag: '1.0'\n"


@pytest.fixture
def make_chart(tmp_path: Path) -> MakeChart:
    """Write a chart of the given files over a working one, and return its directory."""

    def make(files: Mapping[str, str]) -> Path:
        every = {"Chart.yaml": CHART_FILE, "values.yaml": VALUES, "templates/pod.yaml": POD} | dict(files)
        return write_tree(tmp_path / "web", every)

    return make


@pytest.fixture(params=["sdk", "binary"])
def engine(request: pytest.FixtureRequest) -> Iterator[Renderer]:
    """Each renderer that is installed."""
    made: Renderer
    if request.param == "sdk":
        if not is_available():
            pytest.skip("helm-python-sdk is not installed")
        made = SdkRenderer()
    else:
        program = find_helm()
        if program is None:
            pytest.skip("helm is not installed")
        made = BinaryRenderer(program)
    yield made
    made.close()


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write files by their paths below `root`; an empty text leaves the file out."""
    for path, text in files.items():
        if text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return root


def write_archive(path: Path, root: Path) -> Path:
    """Pack a chart directory as `helm package` does."""
    with tarfile.open(path, "w:gz") as tar:
        for folder, _, names in os.walk(root):
            for name in names:
                file = Path(folder) / name
                member = tarfile.TarInfo(str(file.relative_to(root.parent)))
                data = file.read_bytes()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path
