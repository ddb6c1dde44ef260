"""Stand-ins for everything that the platform of the guide asks for, under the true names. Not a test file."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from isthmus.demo.images import filler, make_layer, name_it, put_artifact, put_image
from isthmus.inventory.model import Ref
from isthmus.oci import Reference
from isthmus.store import Store

INDEX = [{"name": "falco-rules", "type": "rulesfile", "registry": "ghcr.io",
          "repository": "falcosecurity/rules/falco-rules", "description": "Falco rules"}]  # fmt: skip


def fill(references: Iterable[Ref], registry: Path, files: Path) -> tuple[set[str], set[str]]:
    """Write a store and a tree HOST/PATH; the hosts of each."""
    hosts: set[str] = set()
    file_hosts: set[str] = set()
    base = make_layer({"etc/os-release": b"ID=stand-in\n"})
    with Store.create(registry) as store:
        for ref in references:
            if ref.kind in ("image", "artifact"):
                hosts.add(ref.name.partition("/")[0])
                repository = Reference.parse(ref.name).repository
                if ref.kind == "image":
                    own = make_layer({"bin/run": filler(ref.name, 5_000)})
                    name_it(store, ref.name, put_image(store, repository, [base, own], command=["/bin/run"]))
                else:
                    put_database(store, ref.name, 1)
            elif ref.kind == "file":
                address = urlsplit(ref.name)
                file_hosts.add(address.netloc)
                place = files / address.netloc / address.path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                data = (
                    yaml.safe_dump(INDEX).encode() if ref.name.endswith("index.yaml") else filler(ref.name, 9_000)
                )
                place.write_bytes(data)
    return hosts, file_hosts


def put_database(store: Store, name: str, edition: int) -> None:
    """A database or rules; another edition has other bytes."""
    layer = {"application/vnd.aquasec.trivy.db.layer.v1.tar+gzip": filler(f"{name} {edition}", 20_000)}
    made = put_artifact(
        store, Reference.parse(name).repository, "application/vnd.aquasec.trivy.config.v1+json", layer
    )
    name_it(store, name, made)
