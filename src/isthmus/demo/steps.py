"""The steps of the demo: functions that take the `World`, do the real thing and say what came of it.

To add a step, write a function and put it into `STEPS`.
"""

from isthmus.demo import inside, outside, update
from isthmus.demo.world import Step, World

__all__ = ["STEPS", "Step", "World"]

STEPS: tuple[Step, ...] = (
    Step("Build an upstream", outside.start_upstream),
    Step("scan", outside.scan_platform),
    Step("lock", outside.lock_platform),
    Step("pull", outside.pull_store),
    Step("pack", outside.pack_bundle),
    Step("approve", outside.approve_bundle),
    Step("Damage a volume", inside.refuse_damage),
    Step("verify, unpack", inside.unpack_site),
    Step("pki, serve", inside.serve_site),
    Step("configure", inside.configure_site),
    Step("check", inside.check_site),
    Step("Pull inside", inside.pull_inside),
    Step("status", inside.tell_ages),
    Step("receipt, update", update.update_site),
)
