"""Amounts in words and pictures: what any report is made of."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.report import charts, words
from isthmus.report.items import component


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (9_994, "9.99 kB"), (9_996, "10.0 kB"), (99_960, "100 kB"),
     (999_499, "999 kB"), (999_500, "1.00 MB"), (1_234_567_890, "1.23 GB"), (5 * 10**18, "5000 PB")],
)  # fmt: skip
def test_sizes_have_three_digits(count: int, said: str) -> None:
    assert words.size(count) == said


def test_other_words() -> None:
    assert words.number(1234567) == "1\u202f234\u202f567"
    assert (words.plural(1, "volume"), words.plural(2, "volume")) == ("1 volume", "2 volumes")
    assert words.short(f"sha256:{'ab' * 32}") == "abababababababab…"
    assert (words.when("2027-01-31T12:34:56Z"), words.when(None), words.when("x")) == (
        "2027-01-31 12:34 UTC",
        "",
        "",
    )
    assert (
        words.place("manifests:a.yaml Deployment/n/x .spec.containers[0].image")
        == "manifests:a.yaml Deployment/n/x"
    )


@given(st.lists(st.floats(0, 1e18), max_size=20), st.floats(0, 1e18))
def test_pictures_stay_within_their_frame(values: list[float], part: float) -> None:
    pictures = [charts.stack(values), charts.columns(values)]
    pictures += [charts.bar(value, max(values), min(part, value)) for value in values]
    for picture in filter(None, pictures):
        svg = ET.fromstring(picture)
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        for rect in svg.iter("rect"):
            assert float(rect.get("x", 0)) + float(rect.attrib["width"]) <= width + 0.5
            assert float(rect.get("y", 0)) + float(rect.attrib["height"]) <= height + 0.5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ck8s:wc ingress-nginx/ingress-nginx DaemonSet/a/b .spec.x", "ck8s:wc ingress-nginx/ingress-nginx"),
        ("manifests:a.yaml Deployment/a/b .spec.x", "manifests:a.yaml"),
        ("kubespray:kubespray pod_infra_image_repo", "kubespray:kubespray"),
        ("isthmus.yaml", "isthmus.yaml"),
        ("signature of docker.io/library/nginx:1", "signatures and SBOMs"),
        ("SBOM of x", "signatures and SBOMs"),
        ("", ""),
    ],
)
def test_components(line: str, said: str) -> None:
    assert component(line) == said
