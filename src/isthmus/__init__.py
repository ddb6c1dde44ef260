"""Isthmus carries a whole Kubernetes platform across an air gap and proves that nothing was left behind."""

__version__ = "0.1.0"
