"""For which Python and machine wheels are carried, and what pip calls that. Not here: fetching them."""

from dataclasses import dataclass
from typing import Final

MACHINES: Final = ("x86_64", "aarch64")
_OLDEST_GLIBC, _NEWEST_GLIBC = 5, 28
"""2.28 is that of RHEL 8 and Debian 10; wheels that need a newer one would not run there."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A minor version of CPython (`3.12`) on a machine with Linux and glibc, as `platform.machine()` names it."""

    python: str
    machine: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.machine}"

    def pip_options(self) -> list[str]:
        """What tells pip to choose for this target instead of for the Python that it runs in."""
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        glibc = [f"manylinux_2_{minor}_{self.machine}" for minor in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
        old = [f"{name}_{self.machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
        for name in (*glibc, *old, f"linux_{self.machine}"):
            options += ["--platform", name]
        return options

    def markers(self) -> dict[str, str]:
        """The environment in which the requirements of wheels hold (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
