"""Reads what a running cluster runs, through its API and without changing anything."""
