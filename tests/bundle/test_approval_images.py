"""A site that asks for signed images takes nothing where one of them is not: whoever made the bundle."""

from pathlib import Path
from typing import Any

import pytest

from isthmus.bundle import (
    Attested,
    BundleReference,
    Demands,
    SignedBy,
    generate_keys,
    held_by_all,
    load_policy,
    load_private_key,
    make_receipt,
    pack,
    plan_bundle,
    read_receipt,
    unpack,
)
from isthmus.bundle.demands import require_sense
from isthmus.errors import UsageError, VerificationError
from isthmus.oci.cosign import parse_keys
from isthmus.store import Store
from tests.bundle.conftest import put_image
from tests.report.conftest import Signer, attach


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "source")


@pytest.fixture
def signer() -> Signer:
    return Signer()


def by(signer: Signer, pattern: str = "", **more: Any) -> Demands:
    return Demands(signed=(SignedBy(parse_keys(signer.pem, "cosign.pub"), pattern, "cosign.pub"),), **more)


def carried(source: Store, place: Path, demands: Demands, name: str = "out", **options: Any) -> None:
    out = place / name
    pack(plan_bundle(source, **options), source, out)
    unpack([out], place / "site", demands=demands)


def refused(source: Store, place: Path, demands: Demands, name: str = "refused", **options: Any) -> list[str]:
    with pytest.raises(VerificationError) as caught:
        carried(source, place, demands, name, **options)
    assert caught.value.code == "image-unsigned"
    assert not (place / "site").exists()
    return [str(item).partition(": ")[0] for item in caught.value.items]


def test_each_unsigned_image_is_named(source: Store, signer: Signer, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image = put_image(source, f"x.example/{name}", "1", [name.encode()])
        if name == "b":
            signer.simple(source, "x.example/b", image)
    assert refused(source, tmp_path, by(signer)) == ["x.example/a:1", "x.example/c:1"]
    assert refused(source, tmp_path, by(signer, "*/a"), "again") == ["x.example/a:1"]
    carried(source, tmp_path, by(signer, "x.example/b*"))


def test_an_image_called_an_artifact_must_be_signed_too(source: Store, signer: Signer, tmp_path: Path) -> None:
    """The maker of the bundle says what is an image; the site does not believe it."""
    image = put_image(source, "x.example/a", f"sha256-{'0' * 64}.sig", [b"a"])
    reference = BundleReference(f"x.example/a:sha256-{'0' * 64}.sig", image.descriptor(), "artifact")
    assert refused(source, tmp_path, by(signer), references=[reference]) == [reference.name]


def test_a_signature_in_another_repository_does_not_count(source: Store, signer: Signer, tmp_path: Path) -> None:
    image = put_image(source, "x.example/a", "1", [b"a"])
    signer.simple(source, "x.example/elsewhere", image)
    assert refused(source, tmp_path, by(signer)) == ["x.example/a:1"]


def test_an_attestation_is_no_signature_and_the_other_way_round(
    source: Store, signer: Signer, tmp_path: Path
) -> None:
    import json

    kind = "application/vnd.dsse.envelope.v1+json"
    image = put_image(source, "x.example/a", "1", [b"a"])
    attach(
        source,
        "x.example/a",
        image,
        kind,
        json.dumps(signer.envelope(image, "https://spdx.dev/Document", {})).encode(),
    )
    assert refused(source, tmp_path, by(signer)) == ["x.example/a:1"]
    signer.simple(source, "x.example/a", image)
    assert refused(source, tmp_path, by(signer, attested=(Attested("vuln"),)), "vuln") == ["x.example/a:1"]
    carried(source, tmp_path, by(signer, attested=(Attested("spdx"),)))


def test_an_update_is_checked_with_what_the_site_holds(source: Store, signer: Signer, tmp_path: Path) -> None:
    image = put_image(source, "x.example/a", "1", [b"a"])
    signer.simple(source, "x.example/a", image)
    carried(source, tmp_path, by(signer), "first")
    receipt = tmp_path / "receipt"
    with Store.open(tmp_path / "site") as site:
        receipt.write_bytes(make_receipt(site))
    other = put_image(source, "x.example/b", "1", [b"b"])
    since = held_by_all([read_receipt(receipt).blobs])
    with pytest.raises(VerificationError, match=r"x\.example/b"):
        carried(source, tmp_path, by(signer), "second", since=since)
    signer.simple(source, "x.example/b", other)
    carried(source, tmp_path, by(signer), "third", since=since)


def test_several_keys_in_one_file_stand_for_one_another(source: Store, signer: Signer, tmp_path: Path) -> None:
    old = Signer()
    old.simple(source, "x.example/a", put_image(source, "x.example/a", "1", [b"a"]))
    signer.simple(source, "x.example/b", put_image(source, "x.example/b", "1", [b"b"]))
    both = Demands(signed=(SignedBy(parse_keys(old.pem + signer.pem, "both.pub")),))
    carried(source, tmp_path, both)


def test_attestations_need_keys() -> None:
    with pytest.raises(UsageError, match="require-signed-by"):
        require_sense(Demands(attested=(Attested("spdx"),)))


def test_a_policy_asks_for_signed_images_and_is_pinned(source: Store, signer: Signer, tmp_path: Path) -> None:
    maker = generate_keys(tmp_path, "maker")
    (tmp_path / "cosign.pub").write_bytes(signer.pem)
    rule = "images: [{key: cosign.pub, pattern: 'x.example/*'}]"
    (tmp_path / "policy.yaml").write_text(f"keys: [maker.pub]\n{rule}\n")
    put_image(source, "other.example/a", "1", [b"o"])
    signer.simple(source, "x.example/a", put_image(source, "x.example/a", "1", [b"a"]))
    pack(plan_bundle(source), source, tmp_path / "one", load_private_key(maker.private))
    unpack([tmp_path / "one"], tmp_path / "site", policy=load_policy(tmp_path / "policy.yaml"))
    put_image(source, "x.example/b", "1", [b"b"])
    pack(plan_bundle(source), source, tmp_path / "two", load_private_key(maker.private))
    with pytest.raises(VerificationError, match=r"x\.example/b:1"):
        unpack([tmp_path / "two"], tmp_path / "site")
