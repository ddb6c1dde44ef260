"""The measure of the scan: a rendered platform against what people found in it by reading."""

import json
from pathlib import Path

import pytest

from isthmus.inventory.model import Inventory
from isthmus.oci import Reference
from isthmus.scan.run import scan


def normal(text: str) -> str:
    return str(Reference.parse(text))


def sure(inventory: Inventory) -> set[str]:
    return {ref.name for ref in inventory.references if ref.kind == "image" and ref.is_locked}


def test_recall_precision_and_downloads(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = wanted = given = 0
    complaints: list[str] = []
    for file in sorted((shared / "truth").glob("*.json")):
        truth = json.loads(file.read_text())
        inventory = scan([f"manifests:{shared}/rendered/{file.stem}.yaml"])
        want = {normal(image["ref"]) for image in truth["images"]}
        apart = {normal(image["ref"]) for image in truth["conditional_images"] + truth["test_hook_images"]} - want
        got = sure(inventory) - apart
        complaints += [f"missed {file.stem}: {name}" for name in sorted(want - got)]
        complaints += [f"false {file.stem}: {name}" for name in sorted(got - want)]
        hits, wanted, given = hits + len(want & got), wanted + len(want), given + len(got)
        listed = {name for ref in inventory.references for name in (ref.name, *ref.as_written)}
        listed |= {endpoint.url for endpoint in inventory.endpoints}
        for download in truth["runtime_downloads"]:
            if download["url"].split(" ")[0] not in listed:
                complaints.append(f"download {file.stem}: {download['url']}")
        for name in apart:
            ref = next((ref for ref in inventory.references if ref.name == name), None)
            if ref is None or ref.when == "always":
                complaints.append(f"not marked {file.stem}: {name}")
        complaints += [f"unresolved {file.stem}: {item.what}" for item in inventory.unresolved]
    with capsys.disabled():
        print(f"\nrecall {hits / wanted:.3f}, precision {hits / given:.3f} of {wanted} images")
        print("\n".join(complaints))
    assert hits == wanted
    assert hits / given >= 0.98
    assert not [line for line in complaints if line.startswith(("download", "not marked", "unresolved"))]


def test_what_is_no_reference_stays_out(shared: Path) -> None:
    for file in sorted((shared / "truth").glob("*.json")):
        truth = json.loads(file.read_text())
        names = {ref.name for ref in scan([f"manifests:{shared}/rendered/{file.stem}.yaml"]).references}
        wanted = {normal(image["ref"]) for image in truth["images"]}
        for text in truth["non_images"]:
            try:
                name = normal(text)
            except Exception:
                continue
            assert name not in names - wanted, f"{file.stem}: {text}"
