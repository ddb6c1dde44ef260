"""A site takes what enough trusted keys signed, nothing expired, and nothing older than it has."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isthmus.bundle import (
    KeyPaths,
    Policy,
    load_policy,
    load_private_key,
    load_public_key,
    pack,
    plan_bundle,
    unpack,
    unpack_stream,
    verify,
)
from isthmus.bundle.policy import expiry, gate
from isthmus.errors import IsthmusError, UsageError, VerificationError
from isthmus.store import Store
from tests.bundle.conftest import everything, fill, put_image

FUTURE = "2999-01-01T00:00:00Z"


class Outside:
    """Packs bundles of a store that gets something new each time."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = 0
        with Store.create(place / "source") as store:
            fill(store)

    def bundle(
        self, *keys: KeyPaths, sequence: int | None = None, expires: str | None = None, name: str = "bundle"
    ) -> Path:
        self.count += 1
        out = self.place / f"out{self.count}"
        with Store.open(self.place / "source") as store:
            put_image(store, "a.example/new", str(self.count), [b"%d" % self.count])
            plan = plan_bundle(store, name=name, volume_size=300_000, sequence=sequence, expires=expires)
            pack(plan, store, out, [load_private_key(key.private) for key in keys])
        return out


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


def written(place: Path, text: str, *keys: KeyPaths) -> Path:
    for number, key in enumerate(keys):
        (place / f"{number}.pub").write_bytes(key.public.read_bytes())
    (place / "policy.yaml").write_text(text)
    return place / "policy.yaml"


def refused(bundle: Path, site: Path, code: str, **more: object) -> None:
    before = everything(site)
    with pytest.raises(VerificationError) as error:
        unpack([bundle], site, **more)  # type: ignore[arg-type]
    assert error.value.code == code
    stream = io.BytesIO(b"".join(path.read_bytes() for path in sorted(bundle.glob("*.isv"))))
    with pytest.raises(VerificationError) as error:
        unpack_stream(stream, site, **more)  # type: ignore[arg-type]
    assert error.value.code == code
    assert everything(site) == before


def test_a_threshold_of_keys(
    outside: Outside, site: Path, keys: KeyPaths, other_keys: KeyPaths, tmp_path: Path
) -> None:
    policy = load_policy(written(tmp_path, "keys: [0.pub, 1.pub]\nthreshold: 2\n", keys, other_keys))
    assert len(policy.public_keys) == 2
    refused(outside.bundle(), site, "unsigned", policy=policy)
    refused(outside.bundle(keys), site, "bad-signature", policy=policy)
    refused(outside.bundle(keys, keys), site, "bad-signature", policy=policy)
    both = outside.bundle(keys, other_keys)
    for key in (keys, other_keys):  # each seals the volumes, so that a site may trust either
        assert verify([both], [load_public_key(key.public)]).complete
    unpack([both], site, policy=policy)
    refused(outside.bundle(other_keys), site, "bad-signature")  # pinned: it holds without being named
    refused(outside.bundle(), site, "unsigned")
    unpack([outside.bundle(other_keys, keys)], site)


def test_an_older_bundle_cannot_be_replayed(outside: Outside, site: Path, keys: KeyPaths) -> None:
    public = [load_public_key(keys.public)]
    first, second, again = (outside.bundle(keys, sequence=number) for number in (1, 2, 2))
    unpack([first], site, public)
    unpack([second], site, public)
    unpack([second], site, public)
    refused(first, site, "older-bundle", public_keys=public)
    refused(again, site, "older-bundle", public_keys=public)
    refused(outside.bundle(keys), site, "older-bundle", public_keys=public)
    refused(first, site, "older-bundle")
    unpack([outside.bundle(keys, sequence=1, name="another")], site, public)
    unpack([first], site, public, allow_older=True)


def test_nobody_without_a_key_can_use_up_sequence_numbers(outside: Outside, site: Path, keys: KeyPaths) -> None:
    unpack([outside.bundle(sequence=2**53 - 1)], site)
    assert not site.with_name("site.trust.json").exists()
    unpack([outside.bundle(keys, sequence=1)], site, [load_public_key(keys.public)])


def test_expired(outside: Outside, site: Path, keys: KeyPaths) -> None:
    refused(outside.bundle(keys, expires="2020-01-01T00:00:00Z"), site, "expired-bundle")
    bundle = outside.bundle(keys, expires=FUTURE)
    unpack([bundle], site)
    contents = verify([bundle])
    assert contents.complete
    refused(outside.bundle(expires="soon"), site, "damaged-volume")


def test_the_clock(outside: Outside, site: Path) -> None:
    from isthmus.bundle import open_volume

    volume = open_volume(next(outside.bundle(expires=FUTURE).glob("*.isv")))
    gate(site).admit(volume.contents, (), datetime(2998, 12, 31, tzinfo=UTC))
    with pytest.raises(VerificationError):
        gate(site).admit(volume.contents, (), datetime(2999, 1, 1, tzinfo=UTC))
    assert expiry("2027-01-31") == "2027-01-31T00:00:00Z" == expiry("2027-01-31T00:00:00Z")
    with pytest.raises(UsageError):
        expiry("tomorrow")


def test_what_a_policy_may_require(outside: Outside, site: Path, keys: KeyPaths) -> None:
    key = load_public_key(keys.public).raw.hex()
    policy = Policy((key,), require_sequence=True, require_expiry=True)
    refused(outside.bundle(keys, expires=FUTURE), site, "older-bundle", policy=policy)
    refused(outside.bundle(keys, sequence=1), site, "expired-bundle", policy=policy)
    unpack([outside.bundle(keys, sequence=1, expires=FUTURE)], site, policy=policy)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "keys: []",
        "keys: [0.pub]\nthreshold: 2",
        "keys: [0.pub, 0.pub]\nthreshold: 2",
        "keys: [0.pub]\nthreshold: 0",
        "keys: [gone.pub]",
        "keys: [0.pub]\ntreshold: 1",
        "keys: [policy.yaml]",
        "\t\x00",
        "!!python/object:os.system x",
    ],
)
def test_a_wrong_policy(tmp_path: Path, keys: KeyPaths, text: str) -> None:
    with pytest.raises(UsageError):
        load_policy(written(tmp_path, text, keys))


@pytest.mark.parametrize("text", ["", "[]", '{"taken":{"x":{"sequence":-1}}}', "[" * 100_000])
def test_a_spoiled_state_lets_nothing_pass(outside: Outside, site: Path, text: str) -> None:
    site.with_name("site.trust.json").write_text(text)
    with pytest.raises(IsthmusError):
        unpack([outside.bundle()], site)
    assert not site.exists()
