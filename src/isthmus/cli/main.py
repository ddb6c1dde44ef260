"""The entry point: finds the command, runs it, and turns every outcome into a message and an exit status.

Not here: what a command does. The exit statuses are those of the contract (`isthmus.errors`).
"""

import importlib
import os
import sys

import click

from isthmus import __version__
from isthmus.cli.output import fail
from isthmus.errors import IsthmusError, UnreachableError, UsageError

COMMANDS = {
    "init": "Write a commented isthmus.yaml.",
    "scan": "Find everything that a platform will ask for.",
    "lock": "Resolve everything found to digests.",
    "pull": "Bring what the lock names into the store.",
    "pack": "Make a bundle of signed volumes from the store.",
    "approve": "Sign that a bundle may cross.",
    "send": "Carry a bundle over SSH, SFTP, a one-way link, or onto a medium.",
    "receive": "Take what arrives in a directory or over a one-way link.",
    "tunnel": "Reach the site by a browser or a command, over SSH.",
    "verify": "Check volumes and say what is missing or damaged.",
    "unpack": "Bring a bundle into a store.",
    "receipt": "Say what a store holds, to carry back.",
    "serve": "Serve a store as a registry.",
    "push": "Copy a store into a registry.",
    "export": "Write images into a file for docker, podman and containerd.",
    "mirror": "Copy from the upstream registries into another.",
    "prune": "Delete from a registry what no lock needs.",
    "gc": "Free what nothing in a store needs.",
    "pki": "Make the site's certificate authority, and certificates.",
    "configure": "Write everything that the site has to be told.",
    "check": "Prove that everything in the lock is there, and that the site is as it has to be.",
    "status": "Show a workspace or a site: coverage, ages, bundles, what is missing.",
    "report": "Write what is needed, there, approved and open, as a page or for machines.",
    "refresh": "Bring newer databases and rules, and bundle only these.",
    "rehearse": "Pull everything for real in a network that has no way out.",
    "cross": "Do all of it, as isthmus.yaml says.",
    "keys": "Make keys.",
    "demo": "Do a whole crossing on this machine.",
    "completion": "Print the shell completion script.",
}
"""In the order of the data's way; a command's module is imported only when it runs."""


class Commands(click.Group):
    """Lists the commands from the table and imports only the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None where there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"isthmus.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a word that is nearly a command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `--help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="isthmus")
def cli() -> None:
    """Carry a whole Kubernetes platform across an air gap, and prove that nothing was left behind.

    \b
    Outside:  scan → lock → pull → pack   (or: mirror, where one machine reaches both sides)
    Inside:   unpack → serve | push → configure → check

    Every command takes --help, --json, -v, -q, -f isthmus.yaml and --workspace DIR.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    as_json = "--json" in arguments
    usual = sys.stdout
    try:
        result = cli.main(arguments, prog_name="isthmus", standalone_mode=False)
    except IsthmusError as error:
        return fail(error, as_json)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return fail(_as_usage_error(error), as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What was done is kept; run the same command again to go on.", err=True)
        return 130
    except SystemExit:
        # What click makes of a pipe that nobody reads any more; it wraps the output against complaints at exit.
        if sys.stdout is usual:
            raise
        return 141
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:  # noqa: BLE001  # the last line of defence: a fault of ours
        return fail(named, as_json) if (named := _of_the_system(error)) else _fault(error, as_json)
    return result if isinstance(result, int) else 0


def _as_usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    hint = f"see '{context.command_path} --help'" if context else "see 'isthmus --help'"
    return UsageError("wrong-usage", error.format_message(), hint=hint)


def _of_the_system(error: Exception) -> UnreachableError | None:
    """What only the machine can have refused, wherever a path was looked at or written: no fault of ours."""
    import errno

    outside = (
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP,
        errno.EIO, errno.EMFILE, errno.ENFILE,
    )  # fmt: skip
    if not isinstance(error, OSError) or error.errno not in outside:
        return None
    where = str(error.filename) if error.filename is not None else ""
    return UnreachableError("io-failed", error.strerror or "it cannot be used", where=where)


def _fault(error: Exception, as_json: bool) -> int:
    """Keep the traceback in a file: people get one line, we get what we need."""
    import tempfile
    import time
    import traceback
    from pathlib import Path

    name = f"isthmus-fault-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    path = Path(tempfile.gettempdir()) / name
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    wrapped = IsthmusError(
        "internal-fault",
        f"{type(error).__name__}: {str(error)[:300]}",
        hint=f"this is a fault of Isthmus; the traceback is in {path}",
    )
    return fail(wrapped, as_json)
