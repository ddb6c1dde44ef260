"""Fixtures that every room's tests may use. Not here: real servers (tests/real)."""
