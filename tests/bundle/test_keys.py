"""Key files: what is made can be loaded, what is not a key is refused, nothing is overwritten."""

import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from isthmus.bundle import KeyPaths, generate_keys, load_private_key, load_public_key
from isthmus.bundle.layout import Signature
from isthmus.errors import UsageError


def test_a_pair_signs_and_verifies(keys: KeyPaths, other_keys: KeyPaths) -> None:
    private, public = load_private_key(keys.private), load_public_key(keys.public)
    signature = private.sign(b"something")
    assert private.sign(b"something") == signature
    assert public.verifies(signature, b"something")
    assert not public.verifies(signature, b"something else")
    assert not public.verifies(Signature(signature.key_id, bytes(64)), b"something")
    assert not load_public_key(other_keys.public).verifies(signature, b"something")
    assert str(public) == keys.key_id
    assert len(keys.key_id) == 16


def test_only_the_owner_may_read_the_private_half(keys: KeyPaths) -> None:
    assert stat.S_IMODE(keys.private.stat().st_mode) == 0o600
    key = load_private_key(keys.private)
    assert repr(key) == f"SigningKey({keys.key_id})"


@pytest.mark.parametrize("there", ["isthmus.key", "isthmus.pub"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError) as error:
        generate_keys(tmp_path)
    assert error.value.code == "file-exists"
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_names_stay_in_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        generate_keys(tmp_path / "inner", "../outer")


def test_what_is_no_key_is_refused(tmp_path: Path, keys: KeyPaths) -> None:
    elliptic = generate_private_key(SECP256R1())
    wrong = {
        "empty": b"",
        "junk": bytes(range(256)),
        "large": b"-" * 100_000,
        "elliptic": elliptic.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "locked": elliptic.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    }
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        for load in (load_private_key, load_public_key):
            with pytest.raises(UsageError) as error:
                load(tmp_path / name)
            assert error.value.code == "invalid-key"
    for load, path in ((load_private_key, keys.public), (load_public_key, keys.private)):
        with pytest.raises(UsageError):
            load(path)
    with pytest.raises(UsageError) as error:
        load_public_key(tmp_path / "nothing")
    assert error.value.code == "file-not-found"


def test_any_form_of_a_key_file_is_the_same_key(tmp_path: Path, keys: KeyPaths) -> None:
    private = serialization.load_pem_private_key(keys.private.read_bytes(), None)
    der = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    body = base64.b64encode(der).decode()
    written = keys.private.read_text()
    forms = [
        "# who it belongs to\n" + written,
        written.replace("\n", "\r\n"),
        f"-----BEGIN PRIVATE KEY-----\n{body[:32]}\n{body[32:]}\n-----END PRIVATE KEY-----\n",
    ]
    expected = load_private_key(keys.private).sign(b"message")
    for number, form in enumerate(forms):
        path = tmp_path / f"{number}.key"
        path.write_bytes(form.encode())
        assert load_private_key(path).sign(b"message") == expected
    assert load_private_key(keys.private).public == load_public_key(keys.public)


@pytest.mark.parametrize(
    "change", [lambda body: body[:-4], lambda body: "A" + body[1:], lambda body: body[:-1] + "*"]
)
def test_a_damaged_key_file_is_refused(tmp_path: Path, keys: KeyPaths, change: Callable[[str], str]) -> None:
    lines = keys.private.read_text().splitlines()
    path = tmp_path / "damaged.key"
    path.write_text("\n".join([lines[0], change(lines[1]), lines[2], ""]))
    with pytest.raises(UsageError) as caught:
        load_private_key(path)
    assert caught.value.code == "invalid-key"
