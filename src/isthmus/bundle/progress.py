"""How long work says how far it is. Not here: showing it (`cli`)."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and what is being done; from one thread at a time."""
