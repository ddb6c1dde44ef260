"""Realistic images for benchmarks and tests: built from Debian packages on a shared base, cached on disk.

What this package is: a generator of an OCI layout with about fifteen images under the names that platforms
use (docker.io/library/nginx, registry.k8s.io/pause, ...), and a later generation of six of them from the
updated suites. What it is not: a copy of the upstream images, nor part of the product.
"""

from bench.images.catalogue import BuiltImage, cache_root, load

__all__ = ["BuiltImage", "cache_root", "load"]
