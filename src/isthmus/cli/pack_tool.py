"""How `pack` has Isthmus itself carried: which wheels, from where, what is said. Not here: the options."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.bundle import BundlePlan, BundleReference, SigningKey, pack, plan_bundle
from isthmus.bundle.companions import for_operator, for_tool_alone
from isthmus.bundle.fitting import Companions, nothing_beside
from isthmus.cli.command import Run
from isthmus.store import Store

if TYPE_CHECKING:
    from isthmus.bundle.tool import CarriedTool

TOOL_DIRECTORY = "tool"
"""Where the tool is beside an encrypted bundle: readable, since nothing could read it otherwise."""


@dataclass(frozen=True)
class ToolChoice:
    """Whether and how Isthmus is carried. Beside an encrypted bundle in files, it is a small bundle of its own."""

    tool: "CarriedTool | None"
    encrypted: bool
    streamed: bool

    @property
    def first(self) -> tuple[BundleReference, ...]:
        """What the main bundle carries of it."""
        return (self.tool.reference,) if self.tool and not self.encrypted else ()

    @property
    def companions(self) -> Companions:
        """The files beside the main bundle's volumes; a stream and an encrypted bundle have none."""
        if self.encrypted or self.streamed:
            return nothing_beside
        return for_operator(self.tool.bootstrap, self.tool.version) if self.tool else for_operator()

    def plan_alone(self, store: Store, limit: int | None) -> BundlePlan | None:
        """The tool's own bundle, where it is one."""
        if self.tool is None or not self.encrypted:
            return None
        companions = for_tool_alone(self.tool.bootstrap, self.tool.version)
        return plan_bundle(store, [self.tool.reference], limit, "isthmus", companions=companions)

    def pack_alone(self, store: Store, out: Path, limit: int | None, keys: list[SigningKey]) -> None:
        """Write the tool's own bundle, where it is one."""
        if (plan := self.plan_alone(store, limit)) is not None:
            pack(plan, store, out / TOOL_DIRECTORY, keys)

    def document(self) -> dict[str, Any] | None:
        """For `--json`: the version, and the checksum of the script that the site must be told."""
        if self.tool is None:
            return None
        return {"version": self.tool.version, "bootstrap_sha256": self._digest(self.tool)}

    @staticmethod
    def _digest(tool: "CarriedTool") -> str:
        return hashlib.sha256(tool.bootstrap).hexdigest()

    def lines(self) -> list[str]:
        """For people."""
        if self.tool is None:
            return []
        return [f"  Isthmus {self.tool.version} crosses too; tell the site that bootstrap.py has the SHA-256",
                f"  {self._digest(self.tool)}"]  # fmt: skip


def choose_tool(
    run: Run, store: Store, *, no_tool: bool, wheels: Path | None, encrypted: bool, streamed: bool, dry_run: bool
) -> ToolChoice:
    """Have the tool in the store as isthmus.yaml says, unless it is left out; a dry run fetches nothing.

    Raises UnreachableError `no-tool`.
    """
    if no_tool:
        return ToolChoice(None, encrypted, streamed)
    config = run.config()
    from isthmus.bundle.tool import Target, carry_tool, held_tool
    from isthmus.bundle.tool.own import is_stale
    from isthmus.inventory.site_config import ToolsSection

    if is_stale():
        run.note(
            "This Isthmus was installed before its dependencies changed in pyproject.toml: the site would "
            "lack some. Install it again (make setup) before you pack."
        )

    wanted = config.site.tools if config else ToolsSection()
    targets = [Target(python, machine) for python in wanted.python for machine in wanted.machines]
    if dry_run:
        held = held_tool(store, targets)
        if held is None:
            run.note("Isthmus itself would be fetched and carried as well; it is not counted here.")
        return ToolChoice(held, encrypted, streamed)
    return ToolChoice(carry_tool(store, targets, run.workspace / "cache" / "tool", wheels), encrypted, streamed)
