"""Asking a `docker-credential-*` program (docker/docker-credential-helpers protocol). Not here: which one."""

import re

import msgspec

from isthmus.errors import UsageError
from isthmus.registry.options import Credential

TIMEOUT = 30.0
"""Seconds that a program may take; some talk to a cloud."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_NOT_FOUND = b"credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - the protocol's mark for an identity token


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str = ""
    secret: str = ""


def ask(helper: str, server: str, *, required: bool, timeout: float = TIMEOUT) -> Credential | None:
    """The credentials that the program has for a server, or None.

    A program that is not installed is None too, unless it is `required`. Raises UsageError (`invalid-config`);
    what the program prints never gets into the message.
    """
    if not _NAME.fullmatch(helper):
        raise UsageError("invalid-config", f"{helper[:80]!r} is not the name of a credential helper")
    import subprocess

    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        if not required:
            return None
        raise _broken(program, server, "is not installed") from error
    except subprocess.TimeoutExpired:
        raise _broken(program, server, f"took longer than {timeout:.0f} s") from None
    except OSError as error:
        raise _broken(program, server, "cannot be run") from error
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout + done.stderr or not required:
            return None
        raise _broken(program, server, f"ended with status {done.returncode}")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise _broken(program, server, "answered with something other than credentials") from None
    if not answer.secret:
        return None
    if answer.username == _TOKEN_USER:
        return Credential(identity_token=answer.secret)
    return Credential(username=answer.username, password=answer.secret)


def _broken(program: str, server: str, why: str) -> UsageError:
    return UsageError(
        "invalid-config",
        f"the credential helper {program} {why}",
        where=server,
        hint=f"try: echo {server} | {program} get",
    )
