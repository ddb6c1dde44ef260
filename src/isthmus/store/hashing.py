"""When the bytes of a blob on its way in are hashed: at once, or beside its writing by whoever brings them.

Not here: verifying (`oci.digest`).
"""

from typing import Final, Protocol

from isthmus.oci import Verifier


class Hashing(Protocol):
    """Has bytes hashed in order; they must not change before `settle`, or as long as their owner says."""

    def feed(self, digest: Verifier, piece: memoryview, /) -> None:
        """Have the verifier take the next bytes."""
        ...

    def settle(self, digest: Verifier, /) -> None:
        """Wait until it has taken all that it was fed with. Raises what the verifier raises."""
        ...


class _AtOnce:
    def feed(self, digest: Verifier, piece: memoryview, /) -> None:
        digest.update(piece)

    def settle(self, _digest: Verifier, /) -> None:
        return


AT_ONCE: Final[Hashing] = _AtOnce()
