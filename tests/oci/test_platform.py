"""Platforms and which of them is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.oci import Platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("Linux/ARM64/V8", "linux/arm64/v8"),
        (" linux/arm/v7 ", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/ppc64le", "linux/ppc64le"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_parsed_as_containerd_does(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "linux/am d64", "é/a"]
)
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Platform.parse(text)
    assert caught.value.code == "invalid-platform"


@pytest.mark.parametrize(
    ("image", "wanted", "expected"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/amd64/v3", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", False),
        ("linux/amd64", "linux/amd64/v1", True),
        ("linux/arm", "linux/arm/7", True),
    ],
)
def test_which_is_meant(image: str, wanted: str, expected: bool) -> None:
    assert Platform.parse(image).matches(Platform.parse(wanted)) is expected


@given(st.text(max_size=30))
def test_any_text(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except UsageError:
        return
    assert Platform.parse(str(platform)) == platform
    assert platform.matches(platform)
