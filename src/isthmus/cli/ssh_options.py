"""The options of the commands that use OpenSSH. Not here: what they do with the connection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from isthmus.carry.ssh.link import Options
from isthmus.errors import UsageError


def ssh_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--identity, --jump, --ssh-option and --ssh-config; the command gets them as `ssh`."""

    @click.option(
        "--identity", type=click.Path(path_type=Path), help="Log in with this private key.  [default: as ssh does]"
    )
    @click.option("-J", "--jump", metavar="HOST", default="", help="Go through this host: [user@]host[:port],….")
    @click.option(
        "--ssh-option", "options", multiple=True, metavar="KEY=VALUE", help="An option as for ssh -o; before ours."
    )
    @click.option("--ssh-config", type=click.Path(path_type=Path), help="Instead of ~/.ssh/config.")
    def wrapped(
        *args: Any,
        identity: Path | None,
        jump: str,
        options: tuple[str, ...],
        ssh_config: Path | None,
        **rest: Any,
    ) -> Any:
        for path in (identity, ssh_config):
            if path is not None and not path.is_file():
                raise UsageError("file-not-found", "there is no such file", where=str(path))
        if jump.startswith("-") or any(option.startswith("-") for option in options):
            raise UsageError("wrong-usage", "a host or an option of ssh cannot begin with -")
        given = Options(str(identity or ""), jump, options, str(ssh_config or ""))
        return function(*args, ssh=given, **rest)

    wrapped.__name__ = function.__name__
    wrapped.__doc__ = function.__doc__
    wrapped.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(function, "__click_params__", []),
        *getattr(wrapped, "__click_params__", []),
    ]
    return wrapped
