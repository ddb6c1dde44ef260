"""Checks passwords against bcrypt hashes with the system's libcrypt, which every Linux distribution has.

Python has no bcrypt of its own, and a package for it would be one more thing to carry. Not here: whose hashes.
"""

import ctypes
import hmac
import re
from functools import cache

from isthmus.errors import UsageError

HASH = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}", re.ASCII)
"""A bcrypt hash of a cost from 4 to 16; with a higher one, a single login would take minutes."""

NOBODY = "$2y$10$abcdefghijklmnopqrstuuRkHyCy9zNJAfQ0fV4FyXQYvJrLwxdpG"
"""Checked for users that are not there, so that they take as long as the others."""

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_DATA_SIZE = 256 * 1024  # struct crypt_data is 32 or 128 KiB


@cache
def _crypt() -> "ctypes._NamedFuncPointer":
    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        return function
    raise UsageError(
        "wrong-usage", "this system has no libcrypt, which checks passwords", hint="install libxcrypt"
    )


def check(password: bytes, hashed: str) -> bool:
    """Whether the password is the right one; takes tens of milliseconds and holds no lock."""
    if b"\0" in password or len(password) > 1024:
        return False
    data = ctypes.create_string_buffer(_DATA_SIZE)
    found = _crypt()(password, hashed.encode(), data)
    return found is not None and hmac.compare_digest(found, hashed.encode())


def require() -> None:
    """Raise UsageError `wrong-usage` where passwords cannot be checked here."""
    if not check(b"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"):
        raise UsageError("wrong-usage", "this system's libcrypt does not know bcrypt", hint="install libxcrypt")
