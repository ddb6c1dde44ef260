"""Where the far side is: `ssh://[user@]host[:port]/directory`, or `sftp://…` for a server without a shell.

`/~/directory` is below the home directory. Not here: connecting.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from isthmus.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]+(%[A-Za-z0-9]+)?")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*")


@dataclass(frozen=True, slots=True)
class Address:
    """A far side; `port` is 0 and `user` empty where OpenSSH's own configuration shall say."""

    scheme: str
    user: str
    host: str
    port: int
    directory: str

    @property
    def words(self) -> list[str]:
        """The words of ssh's command line that name the host."""
        port = ["-p", str(self.port)] if self.port else []
        user = ["-l", self.user] if self.user else []
        return [*port, *user, "--", self.host]

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{host}{port}"


def parse_address(url: str, *, needs_directory: bool = True) -> Address:
    """The parts of a URL. Raises UsageError `wrong-usage`, without repeating a password that is in it."""
    try:
        parts = urlsplit(url)
        host, port, password = parts.hostname or "", parts.port or 0, parts.password
    except ValueError:
        raise _wrong("it is not a URL of a host") from None
    if parts.scheme not in ("ssh", "sftp"):
        raise _wrong(f"it begins with {parts.scheme or 'no scheme'}:, not with ssh: or sftp:")
    if password is not None:
        raise _wrong("a password in a URL would be seen by all; use a key, an agent, or let ssh ask")
    user, directory = unquote(parts.username or ""), unquote(parts.path)
    if not _HOST.fullmatch(host) or (user and not _USER.fullmatch(user)):
        raise _wrong("it does not name a host, or not a user that can be")
    if parts.query or parts.fragment:
        raise _wrong("it has a ? or # part")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in directory):
        raise _wrong("the directory has a control character in its name")
    if directory.startswith("/~/"):
        directory = f"./{directory[3:].lstrip('/')}"
    if needs_directory and directory in ("", "/", "./"):
        raise _wrong("it names no directory")
    return Address(parts.scheme, user, host, port, directory)


def _wrong(why: str) -> UsageError:
    return UsageError(
        "wrong-usage", f"the far side cannot be used: {why}", hint="write ssh://user@host[:port]/directory"
    )
