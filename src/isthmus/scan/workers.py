"""Shares large manifests out to processes, one for each core (see `worker`).

A piece that ends its process, or keeps it for too long, becomes an item and does no harm to the rest. Not
here: small inputs, which one process scans sooner.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from isthmus.inventory.model import Finding, Item
from isthmus.scan.worker import Answer, Task, receive, send

TASK_SECONDS = 120.0
"""How long a process may take for one task."""
_AHEAD = 2  # tasks that wait for each process, which bounds memory


def process_count() -> int:
    """How many processes are worth starting here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_out(tasks: Iterable[Task], processes: int) -> Iterator[Answer]:
    """The answers to the tasks, in their order."""
    idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
    held = [_Process() for _ in range(processes)]
    for process in held:
        idle.put(process)

    def run(task: Task) -> Answer:
        process = idle.get()
        try:
            return process.ask(task)
        finally:
            idle.put(process)

    with ThreadPoolExecutor(processes, thread_name_prefix="scan") as pool:
        waiting: list[Future[Answer]] = []
        try:
            for task in tasks:
                waiting.append(pool.submit(run, task))
                if len(waiting) > processes * _AHEAD:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()
            for process in held:
                process.close()


class _Process:
    """One worker process, started when it is first asked and again after it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder = msgspec.msgpack.Decoder(Answer)

    def ask(self, task: Task) -> Answer:
        """The answer to one task, or one that says for which file there is none."""
        if self._process is None:
            self._process = _start()
        process = self._process
        alarm = threading.Timer(TASK_SECONDS, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            send(process.stdin, task)
            data = receive(process.stdout)
        except OSError:
            data = None
        finally:
            alarm.cancel()
        if data is None:
            self.close()
            return Answer(items=(_lost(task),))
        return self._decoder.decode(data)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:
                        continue  # what was buffered for a process that has ended
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    import isthmus

    # The package may be where only this process looks, such as in a bundle.
    parent = os.path.dirname(os.path.dirname(os.path.abspath(isthmus.__file__)))
    paths = os.pathsep.join(path for path in (parent, os.environ.get("PYTHONPATH", "")) if path)
    return subprocess.Popen(
        [sys.executable, "-m", "isthmus.scan.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )


def _lost(task: Task) -> Item:
    first, last = task.pieces[0].line, task.pieces[-1].line
    return Item(
        what=f"{task.where}:{first}",
        why=f"the documents that begin on lines {first} to {last} could not be scanned: the process ended",
        finding=Finding(source=task.label, rule="parse"),
        hint="scan the file in smaller parts to find the document that does it",
    )
