"""Whether a closed site keeps its side of the contract: names, time, trust, identity, storage, alerts.

Each probe asks one thing over the network and says what was asked and what came back. Not here: what is in the
registry and the file server (`check.registry`, `check.files`).
"""

from isthmus.check.environment.contract import Contract, probes
from isthmus.check.environment.probe import Probe, run

__all__ = ["Contract", "Probe", "probes", "run"]
