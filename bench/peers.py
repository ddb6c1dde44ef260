"""Other tools to compare with. python -m bench.peers [NAME…] installs those that come as Go modules.

They are installed into a cache outside the project, and never required: a benchmark compares with what is
there. Versions are fixed, so that numbers of different days can be compared.
"""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """A program: how to ask for its version, and the Go package that gives it, if one does."""

    name: str
    version: tuple[str, ...]
    package: str = ""
    marker: str = ""
    """What its version says, where another program has the same name."""


PEERS = (
    Peer("skopeo", ("--version",)),
    Peer("crane", ("version",), "github.com/google/go-containerregistry/cmd/crane@v0.22.1"),
    Peer("regctl", ("version", "--format", "{{.VCSTag}}"), "github.com/regclient/regclient/cmd/regctl@v0.11.7"),
    Peer("regsync", ("version", "--format", "{{.VCSTag}}"), "github.com/regclient/regclient/cmd/regsync@v0.11.7"),
    Peer("registry", ("--version",), "github.com/distribution/distribution/v3/cmd/registry@v3.0.0", "v3"),
    Peer("yq", ("--version",), "github.com/mikefarah/yq/v4@v4.45.1", "mikefarah"),
    Peer("oras", ("version",), "oras.land/oras/cmd/oras@v1.3.6"),
)


def cache() -> Path:
    """Return $ISTHMUS_BENCH_PEERS, or a directory in the user's cache."""
    chosen = os.environ.get("ISTHMUS_BENCH_PEERS")
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-bench-peers"


def find(name: str) -> Path | None:
    """Where the program is: in the cache, on PATH or in ~/go/bin; None where it is not."""
    places = [str(cache() / "bin"), os.environ.get("PATH", os.defpath), str(Path.home() / "go" / "bin")]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else None


def version(name: str) -> str:
    """What the program says of its version, in one line; empty where it is not there."""
    path = find(name)
    if path is None:
        return ""
    asked = next((peer.version for peer in PEERS if peer.name == name), ("--version",))
    done = subprocess.run([path, *asked], capture_output=True, text=True, check=False, timeout=30)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return " ".join(lines[0].split()) if lines else ""


def install(peer: Peer) -> str:
    """Build a peer with Go into the cache; what went wrong, or an empty text."""
    go = shutil.which("go")
    if go is None:
        return "Go is not installed"
    place = cache()
    environment = {
        **os.environ,
        "GOPATH": str(place / "go"),
        "GOBIN": str(place / "bin"),
        "GOCACHE": str(place / "build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    done = subprocess.run(
        [go, "install", peer.package], env=environment, cwd=place, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or f"status {done.returncode}"


def main() -> int:
    """Install what is asked for, or all; 0 where all are there then."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    by_name = {peer.name: peer for peer in PEERS if peer.package}
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(by_name))
    names = parser.parse_args().names or list(by_name)
    unknown = set(names) - set(by_name)
    if unknown:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    cache().mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names:
        is_here = find(name) is not None and by_name[name].marker in version(name)
        problem = "" if is_here else install(by_name[name])
        failed += bool(problem)
        print(f"{name}: {problem or f'{version(name)} in {find(name)}'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
