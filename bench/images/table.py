"""The table of images: original names and the Debian packages that fill them.

This is data only. Every name is one that Kubernetes platforms ask for; the contents are Debian's, so that
layer sizes, file counts and what changes between two generations are those of real software.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["small", "full"]
Generation = Literal["v1", "v2"]

FORMAT = 1
"""Raise this when the same table gives other bytes, so that caches are rebuilt."""

BUSYBOX_APPLETS = ("cat", "date", "echo", "env", "id", "ls", "ps", "sh", "sleep", "true", "uname", "wget")


@dataclass(frozen=True)
class ImageSpec:
    """One image: its name without tag, a tag a generation, and the packages above the base."""

    name: str
    tags: tuple[str, ...]
    packages: tuple[str, ...] = ()
    small: tuple[str, ...] | None = None
    command: tuple[str, ...] = ("/bin/sh",)
    static: bool = False
    by_digest: bool = False
    multi_platform: bool = False

    def contents(self, mode: Mode) -> tuple[str, ...]:
        """Return the packages for the mode: small replaces what would take too long in CI."""
        return self.small if mode == "small" and self.small is not None else self.packages

    def tag(self, generation: Generation) -> str | None:
        """Return the tag in that generation; None when the image exists in the first only."""
        index = 0 if generation == "v1" else 1
        return self.tags[index] if index < len(self.tags) else None


# A pause container has nothing to do until it is told to stop.
_PAUSE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")

_NGINX_VERSION = ("/usr/sbin/nginx", "-v")

IMAGES = (
    ImageSpec("docker.io/library/debian", ("12.0-slim", "12-slim")),
    ImageSpec("docker.io/library/nginx", ("1.22.1", "1.22.1-r1"), ("nginx-light",), command=_NGINX_VERSION),
    ImageSpec("docker.io/library/redis", ("7.0.11", "7.0.15"), ("redis-server",)),
    ImageSpec("docker.io/library/postgres", ("15.3", "15.14"), ("postgresql-15",), ("libpq5",)),
    ImageSpec("docker.io/library/python", ("3.11-slim", "3.11-slim-r1"), ("python3",), ("python3-minimal",)),
    ImageSpec("docker.io/library/haproxy", ("2.6.12",), ("haproxy",), command=("/usr/sbin/haproxy", "-v")),
    ImageSpec("docker.io/library/memcached", ("1.6.18",), ("memcached",)),
    ImageSpec("docker.io/library/busybox", ("1.35.0",), ("busybox-static",), static=True),
    ImageSpec("docker.io/library/eclipse-temurin", ("17-jre",), ("openjdk-17-jre-headless",), ("liblcms2-2",)),
    ImageSpec("docker.io/goharbor/registry-photon", ("v2.8.2",), ("docker-registry",)),
    ImageSpec("registry.k8s.io/pause", ("3.10",), ("busybox-static",), None, _PAUSE, True, multi_platform=True),
    ImageSpec("registry.k8s.io/ingress-nginx/controller", ("v1.11.3",), ("nginx-light", "lua5.1")),
    ImageSpec("registry.k8s.io/git-sync/git-sync", ("v4.2.3",), ("git", "openssh-client"), ("rsync",)),
    ImageSpec("quay.io/prometheus/node-exporter", ("v1.5.0",), ("prometheus-node-exporter",), by_digest=True),
    ImageSpec("quay.io/coreos/etcd", ("v3.4.23",), ("etcd-server",), command=("/usr/bin/etcd", "--version")),
    ImageSpec("ghcr.io/elastisys/curl-jq", ("1.0.0", "1.0.1"), ("ca-certificates", "curl", "jq")),
)
