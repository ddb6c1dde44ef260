"""The plain files beside the first volume: how to begin, what is in it, and the script that installs Isthmus.

They are for people and for a Python without Isthmus; the manifest lists their digests. Nothing in them is needed
to unpack. Not here: comparing them (`compared`), the script itself (`tool`), the manifest's own files (`beside`).
"""

from collections.abc import Mapping
from typing import Final

from isthmus.bundle.fitting import Companions
from isthmus.bundle.manifest import BundleManifest

BOOTSTRAP: Final = "bootstrap.py"
README: Final = "README.txt"
CONTENTS: Final = "contents.txt"


def for_operator(bootstrap: bytes | None = None, tool_version: str = "") -> Companions:
    """What lies beside the volumes, with the script where the tool is carried."""

    def files(manifest: BundleManifest) -> Mapping[str, bytes]:
        found = {README: _readme(manifest, tool_version).encode(), CONTENTS: _contents(manifest).encode()}
        return found if bootstrap is None else {**found, BOOTSTRAP: bootstrap}

    return files


def for_tool_alone(bootstrap: bytes, tool_version: str) -> Companions:
    """What lies beside the tool where it is a bundle of its own, since the other one is encrypted."""
    text = _TOOL_ALONE.format(begin=_BEGIN.format(version=tool_version)).encode()
    return lambda _: {README: text, BOOTSTRAP: bootstrap}


def _readme(manifest: BundleManifest, tool_version: str) -> str:
    name, count = manifest.name, len(manifest.volumes)
    first, last = manifest.file_name(1), manifest.file_name(count)
    volumes = f"one volume, {first}" if count == 1 else f"{count} volumes, {first} to {last}"
    begin = _BEGIN.format(version=tool_version) if tool_version else _BEGIN_WITHOUT
    update = _UPDATE if manifest.baseline else ""
    return _README.format(name=name, volumes=volumes, begin=begin, update=update)


def _contents(manifest: BundleManifest) -> str:
    """The manifest for people: what crosses, how large, and in which volumes."""
    sizes = [blob.size for blob in manifest.blobs]
    held = manifest.held()
    carried = sum(size for number, size in enumerate(sizes) if number not in held)
    lines = [
        f"Bundle {manifest.name!r}",
        f"{len(manifest.references)} references, {len(sizes) - len(held)} blobs, {carried} bytes",
    ]
    if manifest.sequence is not None:
        lines.append(f"Sequence number {manifest.sequence}")
    if manifest.expires is not None:
        lines.append(f"Expires {manifest.expires}")
    if held:
        lines.append(f"An update: {len(held)} blobs that the site has are left out")
    for kind in sorted({reference.kind for reference in manifest.references}):
        lines += ["", f"{kind}:"]
        for reference in manifest.references:
            if reference.kind == kind:
                size = sum(sizes[number] for number in reference.blobs)
                lines += [f"  {reference.name}", f"    {reference.digest}  {size} bytes"]
    lines += ["", "Volumes:"]
    for number, table in enumerate(manifest.volumes, 1):
        parity = manifest.parity is not None and number > manifest.parity.volumes
        lines.append(f"  {manifest.file_name(number)}  {table.size} bytes{'  (parity)' if parity else ''}")
    return "\n".join(lines) + "\n"


_README: Final = """\
This is the bundle {name!r}: {volumes}.
It was made by Isthmus. contents.txt says what is in it.

{begin}
2. Look, without changing anything (all discs or directories at once, or one after the other):
     isthmus verify . --key isthmus.pub

3. Bring it into the site's store. On a terminal it asks for the next disc:
     isthmus unpack . --store /srv/store --key isthmus.pub

4. Serve it to the cluster (see isthmus serve --help, isthmus configure --help):
     isthmus serve --store /srv/store --listen 0.0.0.0:5000
{update}
The key must come by another way than this medium: whoever can change the one must not be able to change the other.
If a volume is damaged or lost, verify says which one, who needs it, and whether parity makes up for it.
"""

_TOOL_ALONE: Final = """\
This is Isthmus itself, for the bundle in the directory above, whose volumes (*.isv.age) are encrypted.

{begin}
2. Bring the bundle into the site's store, with the identity that it is encrypted to:
     isthmus unpack .. --store /srv/store --key isthmus.pub --identity isthmus.age

The key must come by another way than this medium: whoever can change the one must not be able to change the other.
"""

_BEGIN: Final = """\
1. Install Isthmus {version}, if it is not here yet. Python 3.11 or newer is all that is needed, and no network.
   Compare the script's checksum with the one that you were told, by another way than this medium; then run it:
     sha256sum bootstrap.py
     python3 bootstrap.py --key isthmus.pub --venv /opt/isthmus
     export PATH=/opt/isthmus/bin:$PATH
"""

_BEGIN_WITHOUT: Final = """\
1. Isthmus itself is not in this bundle: it must be installed here already.
"""

_UPDATE: Final = """
This is an update: it leaves out what the site has, and unpack checks that it is there.
If Isthmus is to be installed from it, say where the store is: python3 bootstrap.py --store /srv/store --key …
"""
