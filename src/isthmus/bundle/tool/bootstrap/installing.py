"""From verified wheels to a program that runs. Not here: verifying."""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from isthmus.bundle.tool.bootstrap.contents import Contents
from isthmus.bundle.tool.bootstrap.medium import Refused, say
from isthmus.bundle.tool.bootstrap.volumes import Bundle

MARKER = ".isthmus-bootstrap.json"
WHEEL = re.compile(r"[A-Za-z0-9_.+!]+-[A-Za-z0-9_.+!-]+\.whl", re.ASCII)
_BEGUN = '{"tool": null}\n'
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


class Tool(NamedTuple):
    """What is installed: the version, the digest of all of it, and the verified wheels for this Python."""

    version: str
    digest: str
    wheels: "list[Path]"


def take_tool(bundle: Bundle, contents: Contents) -> Tool:
    """Verify and copy the wheels for this Python and machine; nothing of them is opened yet."""
    (digest,) = (ref["digest"] for ref in bundle.manifest["references"] if ref["kind"] == "tool")
    layers = {layer["annotations"]["org.opencontainers.image.title"]: layer["digest"]
              for layer in contents.small(digest)["layers"]}  # fmt: skip
    listed = contents.small(layers["tool.json"])
    here = {"python": PYTHON, "machine": platform.machine()}
    names = next((s["wheels"] for s in listed["sets"] if here.items() <= s.items()), None)
    if names is None:
        there = ", ".join(f"Python {s['python']} on {s['machine']}" for s in listed["sets"])
        raise Refused(
            3, f"it carries no wheels for Python {here['python']} on {here['machine']}, only for {there}"
        )
    if not all(WHEEL.fullmatch(name) for name in names):
        raise Refused(4, "a wheel's name is not one")
    return Tool(str(listed["version"]), digest, [contents.take(layers[name], name) for name in names])


def install(tool: Tool, target: Path) -> Path:
    """Make a virtual environment with the wheels, with pip where Python has it; the program's path."""
    marker, program = target / MARKER, target / "bin" / "isthmus"
    finished = json.dumps({"tool": tool.digest, "version": tool.version}) + "\n"
    if target.exists() and any(target.iterdir()):
        if not marker.exists():
            raise Refused(2, f"{target}: it is there already, and not made by this script; choose another --venv")
        if marker.read_text() == finished and program.exists():
            say("It is there already.")
            return program
        _empty(target)
    target.mkdir(parents=True, exist_ok=True)
    marker.write_text(_BEGUN)
    if not _with_pip(tool, target):
        say("This Python has no pip (Debian: python3-venv); the wheels are unpacked without it.")
        install_without_pip(tool, target, program)
    done = _run([str(program), "--version"])
    if done.returncode != 0 or tool.version not in done.stdout:
        raise Refused(5, f"it was installed and does not run:\n{done.stderr[-2000:]}")
    marker.write_text(finished)
    return program


def _run(command: "list[str]") -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)


def _with_pip(tool: Tool, target: Path) -> bool:
    if _run([sys.executable, "-I", "-c", "import venv, ensurepip"]).returncode:
        return False
    if _run([sys.executable, "-I", "-m", "venv", str(target)]).returncode:
        return False
    pip = [str(target / "bin" / "python"), "-I", "-m", "pip", "--isolated", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-cache-dir", "--quiet"]
    done = _run([*pip, "install", *options, *map(str, tool.wheels)])
    if done.returncode:
        raise Refused(5, f"pip could not install the wheels:\n{done.stderr[-2000:]}")
    return True


def install_without_pip(tool: Tool, target: Path, program: Path) -> None:
    """The same by hand. Without the module `venv` (Debian's python3-minimal) there is only a launcher."""
    _empty(target)
    bare = [sys.executable, "-I", "-m", "venv", "--without-pip", str(target)]
    if _run(bare).returncode == 0:
        packages = target / "lib" / f"python{PYTHON}" / "site-packages"
        start = f"exec {shlex.quote(str(target / 'bin' / 'python'))} -m isthmus"
    else:
        packages = target / "lib"
        start = f"PYTHONPATH={shlex.quote(str(packages))} exec {shlex.quote(sys.executable)} -s -m isthmus"
    for wheel in tool.wheels:
        unpack_wheel(wheel, packages)
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\n{start} "$@"\n')
    program.chmod(0o755)


def _empty(target: Path) -> None:
    """Remove what is in it but for the marker, so that whoever comes after a power cut knows whose it is."""
    for entry in target.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()


def unpack_wheel(wheel: Path, packages: Path) -> None:
    """Unpack what a wheel has for site-packages; its scripts are not needed (binary distribution format)."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            parts = entry.filename.split("/")
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if entry.filename.startswith("/") or "\\" in entry.filename or {"..", "."} & set(parts):
                raise Refused(4, f"{wheel.name}: {entry.filename!r} leads elsewhere")
            if not entry.is_dir():
                file = packages.joinpath(*parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, file.open("wb") as out:
                    shutil.copyfileobj(source, out)
