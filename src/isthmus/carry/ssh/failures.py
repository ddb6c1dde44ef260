"""What ssh and programs on the far side complain about, as errors of ours with something to do.

Not here: anything that runs them.
"""

import re
from typing import Final, NamedTuple

from isthmus.errors import UnreachableError

_LONGEST: Final = 400


class _Known(NamedTuple):
    pattern: str
    code: str
    message: str
    hint: str
    temporary: bool = False


_KNOWN: Final = (
    _Known(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed",
        "refused",
        "the host's key is another than the one that is known",
        "somebody may listen, or the host was installed anew: ask its administrator for the new key's "
        "fingerprint, and only then run ssh-keygen -R HOST",
    ),
    _Known(
        r"Host key verification failed|No .* host key is known",
        "refused",
        "the host's key is not known here",
        "compare the fingerprint that ssh-keyscan HOST | ssh-keygen -lf - shows with one that came by another "
        "way, then add it to ~/.ssh/known_hosts",
    ),
    _Known(
        r"Permission denied \(|Too many authentication failures|Authentication failed",
        "unauthorized",
        "the host refused the user or the key",
        "give --identity FILE, or ssh-add it; ssh -v shows what is tried",
    ),
    _Known(
        r"No space left on device|Disk quota exceeded|disk is full",
        "io-failed",
        "the disk of the far side is full",
        "free some space there, then run the same command again; what arrived is kept",
    ),
    _Known(
        r"Permission denied|Read-only file system|Operation not permitted",
        "io-failed",
        "the far side does not allow to write there",
        "look at the owner of the directory on the far side",
    ),
    _Known(
        r"Could not resolve hostname",
        "unreachable",
        "the host's name is not known",
        "look at the name, and at ~/.ssh/config",
    ),
    _Known(
        r"administratively prohibited|Permission to open .* denied|remote port forwarding failed",
        "refused",
        "the host does not allow to forward connections",
        "AllowTcpForwarding in its sshd_config must allow it",
    ),
    _Known(
        r"Address already in use|cannot listen to port|Could not request local forwarding",
        "cannot-listen",
        "the address for the proxy is in use, or not ours",
        "choose another with --socks 127.0.0.1:PORT",
    ),
    _Known(
        r"No route to host|Network is unreachable|Connection refused|Connection timed out|Operation timed out"
        r"|Connection closed|Connection reset|Broken pipe|not responding|kex_exchange_identification"
        r"|banner exchange|lost connection|stdio forwarding failed|mux_client|Control socket",
        "unreachable",
        "the connection could not be made, or was lost",
        "run the same command again; what arrived is kept, and goes on where it ended",
        temporary=True,
    ),
)
_NO_SHELL: Final = re.compile(
    r"allows sftp connections only|account is currently not available|no shell", re.IGNORECASE
)


def has_no_shell(complaint: str) -> bool:
    """Whether a server says that it only speaks SFTP."""
    return _NO_SHELL.search(complaint) is not None


def failure(complaint: str, where: str, status: int | None = None) -> UnreachableError:
    """The error for what was said on standard error; `status` is ssh's, or the program's on the far side."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = re.sub(r"[^\x20-\x7e]", "?", lines[-1])[:_LONGEST] if lines else ""
    for known in _KNOWN:
        if re.search(known.pattern, complaint, re.IGNORECASE):
            said = f" ({last})" if last else ""
            return UnreachableError(
                known.code, known.message + said, where=where, hint=known.hint, temporary=known.temporary
            )
    if status == 255 or status is None:
        return UnreachableError("unreachable", last or "ssh ended without a word", where=where, temporary=True)
    return UnreachableError("refused", last or f"the far side ended with status {status}", where=where)
