"""The guide's two sides: network namespaces joined by a cable on which the site takes SSH alone. Not a test file.

Outside has the stand-ins for the Internet on loopback; inside has the site's addresses, its Harbor (a simulator),
and sshd. Both have files of their own over /etc and a home of their own; inside, /srv, too. The machine's are not
touched.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from isthmus.scan.run import scan
from isthmus.scan.source import SourceSpec
from tests.guide.platform import make_platform
from tests.guide.text import Command, configuration
from tests.guide.upstream import fill, put_database
from tests.real.netns import ClosedNetwork, Namespace
from tests.real.programs import Program, output
from tests.transfer.harbor_simulator import ADMIN

SITE = "10.65.131.137"
HARBOR = "10.65.131.138"
NAMES = f"""\
127.0.0.1 localhost
{SITE} gate.air-gapped.internal fileserver.air-gapped.internal
{HARBOR} registry.air-gapped.internal
"""
ONLY_SSH = """\
table inet gate {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "node0" ct state established,related accept
    iifname "node0" tcp dport 22 accept
    iifname "node0" drop
  }
}
"""
SSH = """\
Host gate.air-gapped.internal
  User root
  IdentityFile ~/.ssh/user
  IdentitiesOnly yes
  StrictHostKeyChecking yes
  ConnectTimeout 10
"""
_PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """A network namespace with directories of its own over those of the machine."""

    namespace: Namespace
    over: dict[str, Path]
    directory: str
    home: Path

    @property
    def enter(self) -> list[str]:
        """The beginning of a command line that runs the rest inside, in the directory."""
        binds = "".join(f"mount --bind {source} {place}; " for place, source in self.over.items())
        return [*self.namespace.enter, "sh", "-ec", f'{binds}cd {self.directory}; exec "$@"', "sh"]


@dataclass
class World:
    """Both sides, and what is running in them."""

    place: Path
    network: ClosedNetwork
    programs: list[Program] = field(default_factory=list)
    wheels: Path | None = None

    @property
    def outside(self) -> Side:
        return Side(self.network.node, {}, str(self.place / "outside"), self.place / "outside-home")

    @property
    def inside(self) -> Side:
        return Side(self.network.site, {"/srv": self.place / "inside"}, "/srv", self.place / "inside-home")

    def build(self) -> None:
        """Make everything that the text takes for granted."""
        for name in ("outside", "outside-home", "inside", "inside-home", "ssh"):
            (self.place / name).mkdir()
        for side in (self.outside, self.inside):
            (side.namespace.files / "hosts").write_text(NAMES)
            users = Path("/etc/passwd").read_text()
            (side.namespace.files / "passwd").write_text(users.replace(":/root:", f":{side.home}:", 1))
        for address in (SITE, HARBOR):
            output("ip", "-n", self.network.site.name, "address", "add", f"{address}/32", "dev", "lo")
        rules = self.place / "gate.nft"
        rules.write_text(ONLY_SSH)
        self.network.site.output("nft", "-f", rules)
        self._ssh()
        make_platform(self.place / "outside" / "compliantkubernetes-apps")
        self._internet()

    def run(self, command: Command) -> str:
        """Run a command of the text as a person would in a shell there, and return all that it said."""
        side = self.outside if command.side == "outside" else self.inside
        if command.stays:
            log = self.place / f"stays-{len(self.programs)}.log"
            words = [*side.enter, *_environment(side), "sh", "-c", f"exec {command.line.removesuffix(' &')}"]
            self.programs.append(Program(words, log))
            self.programs[-1].wait_until(lambda: "://" in log.read_text(errors="replace") or None, 30)
            return log.read_text()
        line = command.line
        if self.wheels is None and line.startswith("isthmus pack"):
            line += " --no-tool"  # the package index is not reached from here; test_bootstrap has the rest
        done = subprocess.run(
            [*side.enter, *_environment(side), "sh", "-c", line],
            capture_output=True, text=True, timeout=170, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == command.status, (
            f"{command.side}$ {command.line}\nended with {done.returncode}\n{said[-6000:]}"
        )
        return said

    def fill_in(self) -> None:
        """Edit isthmus.yaml as the text has it, and name the stand-ins for the Internet."""
        document = yaml.safe_load(configuration())
        document["platform"]["upstreams"] = self.upstreams
        here = {"python": [f"{sys.version_info[0]}.{sys.version_info[1]}"], "machines": [platform.machine()]}
        document["site"]["tools"] = here
        (self.place / "outside" / "isthmus.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        if self.wheels is not None:
            cache = self.place / "outside" / ".isthmus" / "cache"
            cache.mkdir(parents=True)
            (cache / "tool").symlink_to(self.wheels)

    def hand_over_keys(self) -> None:
        """By another way than the bundle."""
        for name in ("keys/isthmus.pub", "officer/officer.pub"):
            source = self.place / "outside" / name
            (self.place / "inside" / source.name).write_bytes(source.read_bytes())

    def start_harbor(self) -> None:
        """Start Harbor, with the certificate that was issued for it."""
        config = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.place / "harbor")}},
            "http": {"addr": "127.0.0.1:5555", "relativeurls": True, "secret": "not-secret"},
        }
        path = self.place / "harbor.yml"
        path.write_text(json.dumps(config))
        self._start("docker-registry", self.inside, ["docker-registry", "serve", str(path)], "listening on")
        certificate = self.place / "inside" / "pki" / "issued" / "registry"
        words = [HARBOR, str(certificate / "tls.crt"), str(certificate / "tls.key"), "127.0.0.1:5555"]
        simulator = ["env", "-C", str(_REPOSITORY), sys.executable, "-m", "tests.guide.harbor", *words]
        self._start("harbor", self.inside, simulator, "ready")

    def a_month_passes(self) -> None:
        """The publishers have newer databases."""
        with_new = self.place / "upstream"
        from isthmus.store import Store

        with Store.open(with_new) as store:
            for name in ("mirror.gcr.io/aquasec/trivy-db:2", "ghcr.io/falcosecurity/rules/falco-rules:latest"):
                put_database(store, name, 2)

    def stop(self) -> None:
        """End everything that was started."""
        for program in reversed(self.programs):
            program.stop()

    def _ssh(self) -> None:
        keys, home = self.place / "ssh", self.place / "outside-home" / ".ssh"
        home.mkdir(mode=0o700)
        for name, where in (("host", keys), ("user", home)):
            output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", where / name)
        host = " ".join((keys / "host.pub").read_text().split()[:2])
        (home / "known_hosts").write_text(f"gate.air-gapped.internal {host}\n")
        (home / "config").write_text(SSH)
        (keys / "authorized_keys").write_bytes((home / "user.pub").read_bytes())
        lines = [
            f"ListenAddress {SITE}", "Port 22", f"HostKey {keys}/host", "UsePAM no", "StrictModes no",
            f"AuthorizedKeysFile {keys}/authorized_keys", "PidFile none", "PasswordAuthentication no",
            "PermitRootLogin yes", "Subsystem sftp internal-sftp", f"SetEnv PATH={_PATH}",
        ]  # fmt: skip
        config = keys / "sshd.conf"
        config.write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        self._start("sshd", self.inside, ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], "Server listening")

    def _internet(self) -> None:
        sources = yaml.safe_load(configuration())["platform"]["sources"]
        kept = Path.cwd()
        os.chdir(self.place / "outside")
        try:
            found = scan([SourceSpec.parse(text) for text in sources])
            from isthmus.inventory.config_file import parse_config
            from isthmus.inventory.settle import settle

            config = parse_config(configuration().encode())
            references = settle(found, config.platform, "isthmus.yaml", config.site).references
        finally:
            os.chdir(kept)
        files = self.place / "published"
        hosts, file_hosts = fill(references, self.place / "upstream", files)
        self.upstreams = {host: f"http://127.0.0.1:6000/{host}" for host in sorted(hosts)}
        self.upstreams |= {host: f"http://127.0.0.1:6001/{host}" for host in sorted(file_hosts)}
        serve = [sys.executable, "-m", "isthmus", "serve", "--store", str(self.place / "upstream"), "--prefix", ""]
        serve += ["--listen", "127.0.0.1:6000", "--files", "http://127.0.0.1:6001", "--files-dir", str(files)]
        self._start("internet", self.outside, serve, "6001")

    def _start(self, name: str, side: Side, words: list[str], ready: str) -> None:
        log = self.place / f"{name}.log"
        program = Program(words, log, side.enter)
        self.programs.append(program)
        program.wait_until(lambda: ready in log.read_text(errors="replace") or None, 30)


def _environment(side: Side) -> list[str]:
    words = ["env", "-i", f"PATH={_PATH}", f"HOME={side.home}", "LC_ALL=C.UTF-8", "TERM=dumb"]
    return [*words, f"SITE_REGISTRY_AUTH={':'.join(ADMIN)}"] if side.directory == "/srv" else words
