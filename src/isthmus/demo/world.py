"""What the demo's steps hand to each other. Not here: the steps."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.bundle import PackResult, PublicKey, load_public_key
from isthmus.content.web import Web
from isthmus.demo import platform
from isthmus.inventory.config import Config
from isthmus.inventory.lock import Lock
from isthmus.inventory.mapping import MirrorMap
from isthmus.inventory.model import Inventory
from isthmus.registry import ConnectionOptions
from isthmus.serve import Listen, ServerThread
from isthmus.transfer import Upstreams


@dataclass
class World:
    """Directories, addresses, and what was made so far. `resources` are closed when the demo ends."""

    directory: Path
    resources: ExitStack
    upstream: str = ""
    published: str = ""
    site: str = ""
    files: str = ""
    config: Config = field(default_factory=Config)
    inventory: Inventory = field(default_factory=Inventory)
    lock: Lock = field(default_factory=Lock)
    packed: PackResult | None = None
    data_volumes: int = 0
    facts: dict[str, int] = field(default_factory=dict)

    @property
    def outside(self) -> Path:
        """What the administrator's machine has."""
        return self.directory / "outside"

    @property
    def inside(self) -> Path:
        """What the site has."""
        return self.directory / "inside"

    @property
    def bundle(self) -> Path:
        """What is carried."""
        return self.outside / "bundle"

    @property
    def volumes(self) -> list[Path]:
        """The volumes of the bundle, in order."""
        assert self.packed is not None
        return [self.bundle / Path(volume.file).name for volume in self.packed.volumes]

    @property
    def ca(self) -> Path:
        """The certificate of the site's authority."""
        return self.inside / "pki" / "ca.pem"

    @property
    def trusting(self) -> ConnectionOptions:
        """Options of a client inside, which trusts the site's authority."""
        return ConnectionOptions(ca_file=self.ca)

    def start_upstream(self) -> None:
        """Serve what stands for the Internet, until the resources are closed."""
        listen = Listen(files=("127.0.0.1", 0), files_dir=self.directory / "published")
        server = ServerThread(self.directory / "upstream", MirrorMap(prefix=""), listen)
        self.resources.callback(server.stop)
        self.upstream, self.published = server.address, server.files_address

    def upstreams(self) -> Upstreams:
        """The registries outside; use it as a context."""
        substitutes = {host: f"http://{self.upstream}/{host}" for host in platform.HOSTS}
        return Upstreams(ConnectionOptions(), substitutes)

    def web(self) -> Web:
        """Everything else outside; use it as a context."""
        return Web(ConnectionOptions(), {platform.FILE_HOST: f"http://{self.published}/{platform.FILE_HOST}"})

    def key(self, name: str = "isthmus") -> PublicKey:
        """A public key that the site has."""
        return load_public_key(self.inside / f"{name}.pub")


@dataclass(frozen=True)
class Step:
    """A title for people and the function that does it."""

    title: str
    do: Callable[[World], str]


def megabytes(count: int) -> str:
    """For people."""
    return f"{count / 1e6:.1f} MB"
