"""A tool as small as one can be: the real script and artifact, with a wheel that only knows its version."""

import io
import platform
import sys
import zipfile
from pathlib import Path

from isthmus.bundle.tool.artifact import CarriedTool, store_tool
from isthmus.bundle.tool.own import OwnWheel
from isthmus.bundle.tool.targets import Target
from isthmus.store import Store

VERSION = "7.8.9"
HERE = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", platform.machine())


def wheel(name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> bytes:
    """A pure wheel that pip installs."""
    info = f"{name}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    everything = files | {
        f"{info}/METADATA": head + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    everything[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*everything, f"{info}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in everything.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # not the clock: the same bytes every time
    return out.getvalue()


def small_own() -> OwnWheel:
    """A program that says its version, and which of its libraries it finds."""
    main = "import sys, needed\nprint('isthmus, version', needed.VERSION)\nopen('ran', 'w').close()\n"
    files = {
        "isthmus/__init__.py": "",
        "isthmus/__main__.py": main,
        f"isthmus-{VERSION}.dist-info/entry_points.txt": "[console_scripts]\nisthmus = isthmus.program:main\n",
        "isthmus/program.py": "def main():\n    import isthmus.__main__\n",
    }
    data = wheel("isthmus", VERSION, files, ("needed",))
    return OwnWheel(f"isthmus-{VERSION}-py3-none-any.whl", data, VERSION, "Requires-Dist: needed\n")


def small_tool(store: Store, place: Path, padding: int = 0, targets: tuple[Target, ...] = (HERE,)) -> CarriedTool:
    """Put the tool into a store; a padded one spans volumes."""
    place.mkdir(exist_ok=True)
    needed = place / "needed-1-py3-none-any.whl"
    needed.write_bytes(wheel("needed", "1", {"needed.py": f"VERSION = {VERSION!r}\n#{'x' * padding}\n"}))
    return store_tool(store, small_own(), {target: [needed] for target in targets})
