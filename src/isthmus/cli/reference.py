"""Writes the command reference and the table of error codes from the code itself.

`python -m isthmus.cli.reference DIR` writes `commands.md` and `errors.md`; a test compares them with what
is in `docs/`. Not here: prose.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from isthmus.cli.main import cli
from isthmus.errors import CODES, IncompleteError, UnreachableError, UsageError, VerificationError

_STATUSES = {
    0: "done, complete",
    1: "a fault of Isthmus (the traceback goes to a file, its path is printed)",
    UsageError.status: "wrong usage or wrong configuration",
    IncompleteError.status: "incomplete: something is unresolved, missing or waiting for a decision",
    VerificationError.status: "verification failed: digest, size, signature, decryption, baseline",
    UnreachableError.status: "something outside could not be reached, or refused",
}


def commands() -> str:
    """`commands.md`: every command's help, as the program prints it."""
    parts = ["# Commands\n\nGenerated from the code by `make docs`; do not edit.\n"]
    for path, command in _walk(cli, ("isthmus",)):
        # As the program makes them, since a command keeps the help option that it first had in a process.
        names = cli.context_settings["help_option_names"]
        context = click.Context(
            command, info_name=" ".join(path), max_content_width=100, terminal_width=100, help_option_names=names
        )
        parts.append(f"## {' '.join(path)}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def errors() -> str:
    """`errors.md`: exit statuses and error codes."""
    lines = ["# Exit statuses and error codes", "", "Generated from the code by `make docs`; do not edit.", ""]
    lines += ["| status | meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in _STATUSES.items())]
    lines += ["", "| code | meaning |", "|---|---|", *(f"| `{code}` | {text} |" for code, text in CODES.items())]
    return "\n".join(lines) + "\n"


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _walk(child, (*path, name))


def main(directory: str) -> None:
    """Write both files."""
    for name, text in (("commands.md", commands()), ("errors.md", errors())):
        plain = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
        Path(directory, name).write_text(plain, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
