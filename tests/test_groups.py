"""Tests of one group share something of the machine: no two of them may run at once."""

import os

import pytest


@pytest.mark.xdist_group("a-group")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one worker alone runs one test at a time")
def test_a_group_keeps_to_one_worker(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@a-group")  # by which pytest-xdist sends its tests to the same worker
