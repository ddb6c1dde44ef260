"""The source `kubeadm:` and its table, which must not say anything that it does not know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import UsageError
from isthmus.scan.kubeadm.table import load
from isthmus.scan.source import SourceSpec
from isthmus.scan.sources.kubeadm import read


def test_the_images_of_a_control_plane() -> None:
    refs = list(read(SourceSpec.parse("kubeadm:v1.33.6?arch=amd64&arch=arm64")))
    # What `kubeadm config images list --kubernetes-version v1.33.6` prints.
    assert [ref.name for ref in refs] == [
        "registry.k8s.io/kube-apiserver:v1.33.6",
        "registry.k8s.io/kube-controller-manager:v1.33.6",
        "registry.k8s.io/kube-scheduler:v1.33.6",
        "registry.k8s.io/kube-proxy:v1.33.6",
        "registry.k8s.io/coredns/coredns:v1.12.0",
        "registry.k8s.io/pause:3.10",
        "registry.k8s.io/etcd:3.5.24-0",
    ]
    assert {ref.platforms for ref in refs} == {("linux/amd64", "linux/arm64")}
    assert all(ref.is_locked for ref in refs)


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("1.99.0", "it reaches from 1.28.0 to"),
        ("1.33.99", "of 1.33 it knows 1.33.0-1.33.5"),
        ("1.29.12", "1.29.14-1.29.15"),
    ],
)
def test_beyond_the_table_is_an_error_that_says_how_far_it_reaches(version: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        list(read(SourceSpec("kubeadm", version)))
    assert caught.value.code == "invalid-source"
    assert hint in caught.value.message
    assert "kubeadm config images list" in caught.value.hint


@given(st.text(max_size=20))
def test_anything_else_is_our_error(version: str) -> None:
    with pytest.raises(UsageError):
        load().find(f"x{version}")


def test_the_table_is_in_order_without_overlaps_and_its_borders_were_checked() -> None:
    table = load()
    checked = set(table.checked.split())
    for before, after in zip(table.rows, table.rows[1:], strict=False):
        one, other = int(before.minor.partition(".")[2]), int(after.minor.partition(".")[2])
        assert (one, before.last) < (other, after.first)
        if one == other:
            assert (before.etcd, before.coredns, before.pause) != (after.etcd, after.coredns, after.pause)
    for row in table.rows:
        assert {f"{row.minor}.{row.first}", f"{row.minor}.{row.last}"} <= checked
