"""A whole crossing on one machine, with an upstream and a site of its own: no root, no Internet, no engine."""

from isthmus.demo.run import Report, run_demo

__all__ = ["Report", "run_demo"]
