"""What `verify` says about the approvals that are with a bundle. Not here: whether one is required at `unpack`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from isthmus.bundle import Demands
from isthmus.bundle.approval import judge
from isthmus.bundle.keys import short_id


@dataclass(frozen=True)
class Approvals:
    """`listed` are documents for `--json`; `lacking` the ids of required approvers who did not approve."""

    listed: Sequence[dict[str, Any]]
    lacking: Sequence[str]

    def show(self) -> None:
        """Say it to people."""
        for each in self.listed:
            who = f"{each['name']} ({each['key']})" if each["name"] else each["key"]
            comment = f": {each['comment']}" if each["comment"] else ""
            if each["fault"]:
                click.secho(f"the approval by {who} does not count: {each['fault']}", fg="red")
            elif each["verified"]:
                click.secho(f"approved by {who} at {each['time']}{comment}", fg="green")
            else:
                click.echo(f"says that {who} approved it at {each['time']}; --require-approval verifies that")
        for key in self.lacking:
            click.secho(f"not approved by {key}", fg="red")


def approvals_of(demands: Demands, bundle: str | None) -> Approvals:
    """What the approvals that were found are worth. Raises UsageError `file-not-found`, `invalid-input`."""
    found = judge(dict.fromkeys(demands.approvals), bundle or "", demands.approvers)
    by = {each.approver for each in found if each.approver is not None and not each.fault}
    listed = [
        {
            "name": each.approval.statement.name,
            "comment": each.approval.statement.comment,
            "time": each.approval.statement.time,
            "key": short_id(bytes.fromhex(each.approval.key)),
            "verified": each.approver is not None and not each.fault,
            "fault": each.fault,
        }
        for each in found
    ]
    return Approvals(listed, [str(key) for key in demands.approvers if key not in by])
