"""Into a registry: `isthmus mirror` and `isthmus push` beside the other tools, into Distribution 2.8 and 3.

Scenarios, one after the other in every round, each round into a registry that was just started and is empty:
registry → registry; once more, when nothing has changed; onto the first generation, the images that were
updated; store → registry. Everything over plain HTTP and over TLS. What a round left is compared, digest for
digest, before it counts. Not here: into stores (`transfer`), one big blob (`memory`).
"""

import hashlib
import json
import shlex
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import peers, registry
from bench.compare import missed, table
from bench.contenders import OURS, program
from bench.images import BuiltImage
from bench.measure import Cost, Costs, MeasureError, take_turns
from bench.measure import run as run_command
from bench.options import Options
from bench.registry import Upstream
from bench.report import Report
from tests.real.docker_registry import Tls

EMPTY, UNCHANGED, UPDATED, PUSHED = (
    "registry → registry", "nothing changed", "images updated", "store → registry",
)  # fmt: skip
GOALS = {
    EMPTY: {"wall": 0.80, "cpu": 0.80},
    UNCHANGED: {"wall": 0.30, "requests": 0.30},
    UPDATED: {},
    PUSHED: {"wall": 0.80},
}
_SKOPEO = "{} --insecure-policy copy -q --all --preserve-digests --dest-tls-verify={verify} "
_REGCTL = '{} image copy --host "reg=${{TARGET%%/*}},tls={tls}" '
LINES = {
    "skopeo": (
        _SKOPEO + '--src-tls-verify={verify} "docker://$SOURCE" "docker://$TARGET"',
        _SKOPEO + '"oci:$LAYOUT:$REF" "docker://$TARGET"',
    ),
    "crane": ('{} copy {insecure} "$SOURCE" "$TARGET"', ""),
    "regctl": (
        _REGCTL + '--host "reg=${{SOURCE%%/*}},tls={tls}" "$SOURCE" "$TARGET"',
        _REGCTL + '"ocidir://$LAYOUT@$DIGEST" "$TARGET"',
    ),
    "oras": (
        '{} cp --no-tty {plain} "$SOURCE" "$TARGET"',
        '{} cp --no-tty {plain_to} --from-oci-layout "$LAYOUT@$DIGEST" "$TARGET"',
    ),
}
"""How each tool copies one image, registry to registry and layout to registry; empty where it cannot."""


@dataclass(frozen=True)
class Ground:
    """What all contenders work with: the images, where they are, and how the target is started."""

    work: Path
    built: Sequence[BuiltImage]
    upstream: Upstream
    store: Path
    tls: Tls | None
    program: tuple[str, ...]

    @property
    def env(self) -> Mapping[str, str]:
        """Trust for Go's programs, and a home that is nobody's."""
        home = str(self.work / "home")
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DOCKER_CONFIG")
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": home + "/bytecode"}
        trust = {"SSL_CERT_FILE": str(self.tls.certificate)} if self.tls else {}
        return dict.fromkeys(names, home) | {"TMPDIR": home} | bytecode | trust


Copy = Callable[[Sequence[BuiltImage], Upstream], Cost]


def run(options: Options) -> Report:
    """Measure. Raises MeasureError."""
    built = registry.images(options.mode)
    costs: Costs = {}
    goals: dict[str, Mapping[str, float]] = {}
    for name, started in _registries().items():
        for tls in (False, True):
            setting = f"{name}, {'TLS' if tls else 'plain'}"
            if options.only and setting not in options.only:
                continue
            with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as place, ExitStack() as stack:
                work = Path(place)
                for directory in ("home", "targets"):
                    (work / directory).mkdir()
                files = _certificate(work) if tls else None
                upstream = stack.enter_context(registry.running(work / "plain"))
                registry.fill(upstream, built, work / "skopeo-home")
                store = _store(work, upstream, built)
                if files:
                    upstream = _with_tls(stack, work, files)
                ground = Ground(work, built, upstream, store, files, started)
                rounds = {
                    tool: _round(ground, *ways)
                    for tool, ways in ways(ground).items()
                    if tool == OURS or not options.peers or tool in options.peers
                }
                for scenario, by_tool in take_turns(rounds, options.runs, options.say).items():
                    costs[f"{scenario}, {setting}"] = by_tool
                    goals[f"{scenario}, {setting}"] = GOALS[scenario]
    names = {tool for by_tool in costs.values() for tool in by_tool if tool != OURS}
    return Report(
        name="between",
        settings={"images": len(built), "mode": options.mode, "runs": options.runs},
        versions={name: peers.version(name) for name in sorted(names | {"docker-registry"})},
        costs=costs,
        tables=[table(name, by_tool, goals[name]) for name, by_tool in costs.items()],
        missed=missed(costs, goals),
    )


def _registries() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {"2.8": ("docker-registry",)}
    if third := peers.find("registry"):
        found["3"] = ("env", "OTEL_TRACES_EXPORTER=none", str(third))
    return found


def _certificate(work: Path) -> Tls:
    import trustme

    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    certificate, key = work / "chain.pem", work / "key.pem"
    leaf.private_key_pem.write_to_path(key)
    text = b"".join(blob.bytes() for blob in leaf.cert_chain_pems) + authority.cert_pem.bytes()
    certificate.write_bytes(text)
    return Tls(certificate, key)


def _with_tls(stack: ExitStack, work: Path, files: Tls) -> Upstream:
    """The same content, spoken over TLS."""
    shutil.copytree(work / "plain" / "storage", work / "upstream" / "storage", copy_function=shutil.copyfile)
    return stack.enter_context(registry.running(work / "upstream", files))


def _lock_path(work: Path, images: Sequence[BuiltImage]) -> Path:
    names = "\n".join(image.reference for image in images)
    return work / f"{hashlib.sha256(names.encode()).hexdigest()[:12]}.lock"


def make_lock(work: Path, upstream: Upstream, images: Sequence[BuiltImage]) -> Path:
    """The lock of these images, where `ways` looks for it."""
    lock = _lock_path(work, images)
    listed = lock.with_suffix(".txt")
    listed.write_text("\n".join(image.reference for image in images) + "\n")
    hosts = sorted({image.name.partition("/")[0] for image in images})
    command: list[str | Path] = [
        program(),
        "lock",
        "-q",
        f"images:{listed}",
        "--out",
        lock,
        *upstream.substitutes(hosts),
    ]
    run_command(command, cwd=work)
    return lock


def _store(work: Path, upstream: Upstream, built: Sequence[BuiltImage]) -> Path:
    lock = make_lock(work, upstream, built)
    make_lock(work, upstream, [image for image in built if image.generation == "v1"])
    make_lock(work, upstream, _updated(built))
    hosts = sorted({image.name.partition("/")[0] for image in built})
    command: list[str | Path] = [
        program(),
        "pull",
        "-q",
        "--lock",
        lock,
        "--store",
        work / "store",
        *upstream.substitutes(hosts),
    ]
    run_command(command, cwd=work)
    return work / "store"


def _updated(built: Sequence[BuiltImage]) -> list[BuiltImage]:
    """The platform after an update: the images of the second generation in place of those of the first."""
    later = [image for image in built if image.generation != "v1"]
    names = {image.name for image in later}
    return [*(image for image in built if image.generation == "v1" and image.name not in names), *later]


def ways(ground: Ground) -> dict[str, tuple[Copy, Copy | None]]:
    """How each tool that is here copies images between registries, and from the store where it can."""
    found: dict[str, tuple[Copy, Copy | None]] = {OURS: (_our_mirror(ground), _our_push(ground))}
    for name, lines in LINES.items():
        if path := peers.find(name):
            copy, push = (_loop(ground, path, line) if line else None for line in lines)
            if copy is not None:
                found[name] = (copy, push)
    if path := peers.find("regsync"):
        found["regsync"] = (_regsync(ground, path), None)
    return found


def _ours(ground: Ground, target: Upstream) -> list[str | Path]:
    """The workspace belongs to the target: what a former one held must not be remembered of this."""
    space = ground.work / "targets" / target.address.replace(":", "-")
    ca: list[str | Path] = ["--ca", ground.tls.certificate] if ground.tls else []
    return ["--to", target.address, "--workspace", space, *ca]


def _our_mirror(ground: Ground) -> Copy:
    def copy(images: Sequence[BuiltImage], target: Upstream) -> Cost:
        lock = _lock_path(ground.work, images)
        hosts = sorted({image.name.partition("/")[0] for image in images})
        space = ground.work / "targets" / target.address.replace(":", "-")
        words: list[str | Path] = [
            program(),
            "mirror",
            "-q",
            "--lock",
            lock,
            "--to",
            target.address,
            "--workspace",
            space,
        ]
        ca: list[str | Path] = ["--ca", ground.tls.certificate] if ground.tls else []
        command = [*words, *ca, *ground.upstream.substitutes(hosts)]
        return run_command(command, cwd=ground.work, env=ground.env)

    return copy


def _our_push(ground: Ground) -> Copy:
    def push(images: Sequence[BuiltImage], target: Upstream) -> Cost:  # noqa: ARG001  # all that the store has
        space = ground.work / "targets" / target.address.replace(":", "-")
        words: list[str | Path] = [
            program(),
            "push",
            "-q",
            "--store",
            ground.store,
            "--to",
            target.address,
            "--workspace",
            space,
        ]
        ca: list[str | Path] = ["--ca", ground.tls.certificate] if ground.tls else []
        return run_command([*words, *ca], cwd=ground.work, env=ground.env)

    return push


def _loop(ground: Ground, path: Path, line: str) -> Copy:
    """A tool that is run once an image, in one shell loop."""
    secure = ground.tls is not None
    filled = line.format(
        shlex.quote(str(path)),
        verify="true" if secure else "false",
        insecure="" if secure else "--insecure",
        tls="enabled" if secure else "disabled",
        plain="" if secure else "--from-plain-http --to-plain-http",
        plain_to="" if secure else "--to-plain-http",
    )
    script = "set -e; while [ $# -gt 0 ]; do SOURCE=$1 TARGET=$2 REF=$3 DIGEST=$4; shift 4; " + filled + "; done"

    def copy(images: Sequence[BuiltImage], target: Upstream) -> Cost:
        words = [word for image in images for word in _places(ground, image, target)]
        env = {**ground.env, "LAYOUT": str(ground.store)}
        return run_command(["/bin/sh", "-c", script, "sh", *words], cwd=ground.work, env=env)

    return copy


def _places(ground: Ground, image: BuiltImage, target: Upstream) -> tuple[str, str, str, str]:
    name = f"{image.name}:{image.tag}"
    return f"{ground.upstream.address}/{name}", f"{target.address}/mirror/{name}", image.reference, image.digest


def _regsync(ground: Ground, path: Path) -> Copy:
    """One process for the whole set, four images at a time as Isthmus has four threads."""

    def copy(images: Sequence[BuiltImage], target: Upstream) -> Cost:
        tls = "enabled" if ground.tls else "disabled"
        places = [_places(ground, image, target) for image in images]
        document = {
            "version": 1,
            "creds": [{"registry": one, "tls": tls} for one in (ground.upstream.address, target.address)],
            "defaults": {"parallel": 4},
            "sync": [{"source": source, "target": to, "type": "image"} for source, to, _, _ in places],
        }
        config = ground.work / "regsync.json"
        config.write_text(json.dumps(document))  # YAML contains JSON
        return run_command([path, "once", "-c", config], cwd=ground.work, env=ground.env)

    return copy


def _round(ground: Ground, copy: Copy, push: Copy | None) -> Callable[[], Mapping[str, Cost]]:
    """All scenarios of one tool, in order, each into empty registries."""
    first = [image for image in ground.built if image.generation == "v1"]
    later = _updated(ground.built)

    def measured(way: Copy, images: Sequence[BuiltImage], target: Upstream) -> Cost:
        before, read_before = target.served(), ground.upstream.served()
        cost = way(images, target)
        facts = {**target.served().since(before)}
        upstream = ground.upstream.served().since(read_before)
        facts["requests"] += upstream["requests"]
        facts["bytes_read"] = upstream["bytes_read"]
        check(ground, images, target)
        return replace(cost, facts=facts)

    def contend() -> Mapping[str, Cost]:
        costs: dict[str, Cost] = {}
        with Target(ground) as target:
            costs[EMPTY] = measured(copy, ground.built, target)
            costs[UNCHANGED] = measured(copy, ground.built, target)
        with Target(ground) as target:
            copy(first, target)
            costs[UPDATED] = measured(copy, later, target)
        if push is not None:
            with Target(ground) as target:
                costs[PUSHED] = measured(push, ground.built, target)
        return costs

    return contend


class Target:
    """An empty registry of the kind that is measured, removed at the end."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._stack = ExitStack()

    def __enter__(self) -> Upstream:
        place = Path(tempfile.mkdtemp(dir=self._ground.work / "targets"))
        self._stack.callback(shutil.rmtree, place, ignore_errors=True)
        found = self._stack.enter_context(registry.running(place / "it", self._ground.tls, self._ground.program))
        space = self._ground.work / "targets" / found.address.replace(":", "-")
        self._stack.callback(shutil.rmtree, space, ignore_errors=True)
        return found

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def check(ground: Ground, images: Sequence[BuiltImage], target: Upstream) -> None:
    """Raise MeasureError where the target has other digests, or none, under the images' names."""
    import ssl

    context = ssl.create_default_context(cafile=ground.tls.certificate) if ground.tls else None
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    handlers += [urllib.request.HTTPSHandler(context=context)] if context else []
    opener = urllib.request.build_opener(*handlers)
    kinds = "application/vnd.oci.image.index.v1+json,application/vnd.oci.image.manifest.v1+json"
    kinds += ",application/vnd.docker.distribution.manifest.list.v2+json"
    kinds += ",application/vnd.docker.distribution.manifest.v2+json"
    for image in images:
        under = image.digest if "@" in image.reference else image.tag
        url = f"{target.registry.url}/v2/mirror/{image.name}/manifests/{under}"
        request = urllib.request.Request(url, method="HEAD", headers={"Accept": kinds})
        try:
            with opener.open(request, timeout=20) as answer:
                found = answer.headers.get("Docker-Content-Digest")
        except OSError as error:
            raise MeasureError(f"{url} is not there: {error}") from error
        if found != image.digest:
            raise MeasureError(f"{image.reference} became {found} instead of {image.digest}")
