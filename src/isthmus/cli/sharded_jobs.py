"""`isthmus mirror --kubernetes`: from the command line and isthmus.yaml to Kubernetes objects, and kubectl.

Not here: the objects (`transfer.kubernetes`).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from isthmus.cli.command import Run
from isthmus.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from isthmus.inventory.config import Config, RegistryAccess
    from isthmus.inventory.site_config import RegistrySection
    from isthmus.transfer.kubernetes import ShardedCopy

_PATIENCE = 120
_LARGEST_FILE = 512 * 1024


class KubernetesOptions(msgspec.Struct, frozen=True):
    """What the options say."""

    shards: int
    apply: bool
    image: str
    namespace: str
    secret: str
    claim: str
    cpu: str
    memory: str


def kubernetes_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a command that can run in a cluster; the command gets them as one argument, `kubernetes`."""

    def wrapped(*given: Any, **rest: Any) -> Any:
        wanted = rest.pop("kubernetes")
        names = ("shards", "apply", "image", "namespace", "secret", "claim", "cpu", "memory")
        values = {name: rest.pop(f"kubernetes_{name}") for name in names}
        return function(*given, kubernetes=KubernetesOptions(**values) if wanted else None, **rest)

    wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = wrapped
    for decorate in (
        click.option("--kubernetes", is_flag=True, help="Write Kubernetes Jobs that do it, instead of doing it."),
        _option(
            "shards",
            type=click.IntRange(1, 4096),
            default=4,
            show_default=True,
            help="For --kubernetes: into so many parts.",
        ),
        _option("apply", is_flag=True, help="For --kubernetes: give the Jobs to kubectl."),
        _option(
            "image",
            default="isthmus:latest",
            show_default=True,
            help="For --kubernetes: an image that has isthmus.",
        ),
        _option("namespace", default="", help="For --kubernetes: where the Jobs run.  [default: kubectl's]"),
        _option(
            "secret",
            default="isthmus-registries",
            show_default=True,
            help="For --kubernetes: the Secret with credentials.",
        ),
        _option(
            "claim",
            flag="--lock-claim",
            default="",
            help="For --kubernetes: a volume claim that holds isthmus.lock, for large ones.",
        ),
        _option("cpu", default="1", show_default=True, help="For --kubernetes: processors for each part."),
        _option("memory", default="512Mi", show_default=True, help="For --kubernetes: memory for each part."),
    ):
        decorated = decorate(decorated)
    return decorated


def _option(name: str, *, flag: str = "", **settings: Any) -> Callable[..., Any]:
    option: Callable[..., Any] = click.option(flag or f"--{name}", f"kubernetes_{name}", **settings)
    return option


def pod_arguments(
    to: str, mapping: str, kind: str | None, jobs: int, upstreams: tuple[str, ...], platforms: tuple[str, ...],
    flags: Mapping[str, bool],
) -> tuple[str, ...]:  # fmt: skip
    """The arguments of `isthmus mirror` in a pod, but for lock, configuration, shard and authorities."""
    arguments = ["--to", to, "--mapping", mapping, "--jobs", str(jobs)]
    arguments += ["--kind", kind] if kind else []
    for name, values in (("--upstream", upstreams), ("--platform", platforms)):
        for value in values:
            arguments += [name, value]
    return (*arguments, *(name for name, wanted in flags.items() if wanted))


def sharded_copy(
    run: Run, options: KubernetesOptions, lock_path: Path, arguments: tuple[str, ...], ca: Path | None
) -> "ShardedCopy":
    """What the options and isthmus.yaml ask for. Secrets are named by where isthmus.yaml has them.

    Raises UsageError (`file-not-found`, `invalid-lock`, `invalid-config`).
    """
    from isthmus.inventory.lock import format_lock, read_lock
    from isthmus.transfer.kubernetes import Secrets, ShardedCopy

    gathered = _Gathered()
    lock = read_lock(lock_path)
    config = gathered.config(run.config(), lock.platforms)
    if ca is not None:
        arguments = (*arguments, "--ca", gathered.file(str(ca)))
    bare = tuple(msgspec.structs.replace(entry, evidence=()) for entry in lock.references)
    return ShardedCopy(
        image=options.image,
        arguments=arguments,
        shards=options.shards,
        lock=format_lock(msgspec.structs.replace(lock, references=bare)),
        files={"isthmus.yaml": msgspec.json.format(msgspec.json.encode(config), indent=1).decode() + "\n"}
        | gathered.files,
        secrets=Secrets(options.secret, tuple(sorted(gathered.variables)), tuple(sorted(gathered.keys))),
        namespace=options.namespace,
        claim=options.claim,
        cpu=options.cpu,
        memory=options.memory,
    )


def deliver(run: Run, options: KubernetesOptions, copy: "ShardedCopy") -> None:
    """Write the objects to standard output, or give them to kubectl."""
    import yaml

    from isthmus.transfer.kubernetes import objects

    found = objects(copy)
    text = yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True, width=110)
    names = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in found]
    needed = [*copy.secrets.variables, *copy.secrets.files]
    if needed:
        run.note(f"the Secret {copy.secrets.name} must have the keys {', '.join(needed)}")
    if options.apply:
        _kubectl(text)
        run.emit({"applied": names}, "\n".join(f"applied {name}" for name in names))
    else:
        run.emit({"objects": found}, text.rstrip("\n"))


def _kubectl(text: str) -> None:
    import subprocess

    try:
        done = subprocess.run(
            ["kubectl", "apply", "-f", "-"],
            input=text.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(
            "wrong-usage",
            "there is no kubectl on this machine",
            hint="leave --apply out, and apply the output there",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError("unreachable", "kubectl did not end", where="kubectl apply") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UnreachableError("refused", f"kubectl refused: {' '.join(said)[-300:]}", where="kubectl apply")


class _Gathered:
    """isthmus.yaml as it is inside a pod: files become keys of the ConfigMap, secrets those of the Secret."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.variables: set[str] = set()
        self.keys: set[str] = set()

    def config(self, config: "Config | None", platforms: tuple[str, ...]) -> "Config":
        """The parts that `mirror` reads; without a file, it carries the platforms of the lock."""
        from isthmus.inventory.config import Config, PlatformSection
        from isthmus.inventory.site_config import SiteSection

        given = config or Config()
        registries = {host: self._access(access, host) for host, access in given.platform.registries.items()}
        platform = PlatformSection(
            architectures=config.platform.architectures if config else platforms,
            upstreams=given.platform.upstreams,
            registries=registries,
        )
        return Config(platform=platform, site=SiteSection(registry=self._site(given.site.registry)))

    def file(self, path: str) -> str:
        """Where the content of a file, which is no secret, will be."""
        if not path:
            return ""
        try:
            with open(path, encoding="utf-8") as stream:
                text = stream.read(_LARGEST_FILE)
        except (OSError, ValueError) as error:
            raise UsageError("file-not-found", "the file cannot be read", where=path) from error
        name = re.sub(r"[^-._a-zA-Z0-9]", "_", Path(path).name)
        while self.files.get(name, text) != text:
            name = f"_{name}"
        self.files[name] = text
        return f"{_directory()}/config/{name}"

    def _access(self, access: "RegistryAccess", host: str) -> "RegistryAccess":
        return msgspec.structs.replace(
            access,
            auth=self._secret(access.auth, host),
            ca=self.file(access.ca),
            client_certificate=self._secret_file(access.client_certificate, f"{host}.crt"),
            client_key=self._secret_file(access.client_key, f"{host}.key"),
        )

    def _site(self, site: "RegistrySection") -> "RegistrySection":
        return msgspec.structs.replace(site, auth=self._secret(site.auth, site.host), ca=self.file(site.ca))

    def _secret(self, reference: str | None, host: str) -> str | None:
        if reference is None:
            return None
        kind, _, name = reference.partition(":")
        if kind == "env":
            self.variables.add(name)
        if kind != "file":
            return reference
        return f"file:{self._secret_file(name, f'{host}.auth')}"

    def _secret_file(self, path: str, key: str) -> str:
        if not path:
            return ""
        key = re.sub(r"[^-._a-zA-Z0-9]", "_", key.rpartition("://")[2])
        self.keys.add(key)
        return f"{_directory()}/credentials/{key}"


def _directory() -> str:
    from isthmus.transfer.kubernetes import DIRECTORY

    return DIRECTORY
