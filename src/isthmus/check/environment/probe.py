"""One probe's outcome, and running many at once within a bounded time. Not here: what is asked."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

Outcome = Literal["pass", "fail", "skip"]
TIMEOUT: Final = 5.0
"""Seconds that one question may take."""
DEADLINE: Final = 25.0
"""Seconds for all of them together; what has not answered by then has failed."""


class Probe(msgspec.Struct, frozen=True):
    """What was asked of the site, what came back, and whether that is as it has to be."""

    what: str
    asked: str
    answer: str
    outcome: Outcome
    hint: str = ""


class Question(msgspec.Struct, frozen=True):
    """Something to ask: `ask` gives the outcome, what came back, and advice."""

    what: str
    asked: str
    ask: Callable[[], tuple[Outcome, str, str]]


def skipped(what: str, asked: str, why: str, hint: str = "") -> Question:
    """A question that cannot be asked, and why."""
    return Question(what, asked, lambda: ("skip", why, hint))


def run(questions: Sequence[Question], deadline: float = DEADLINE) -> tuple[Probe, ...]:
    """Ask all at once; the outcomes are in the order of the questions, whatever answered first."""
    answers: queue.SimpleQueue[tuple[int, tuple[Outcome, str, str]]] = queue.SimpleQueue()

    def work(number: int, question: Question) -> None:
        try:
            answers.put((number, question.ask()))
        except (OSError, ValueError) as error:
            answers.put((number, ("fail", _words(error), "")))

    for number, question in enumerate(questions):
        # Daemons: a server that sends a byte now and then must not keep the program from ending.
        threading.Thread(target=work, args=(number, question), daemon=True, name="isthmus-probe").start()
    found: dict[int, tuple[Outcome, str, str]] = {}
    end = time.monotonic() + deadline
    while len(found) < len(questions) and (left := end - time.monotonic()) > 0:
        try:
            number, answer = answers.get(timeout=left)
        except queue.Empty:
            break
        found[number] = answer
    late: tuple[Outcome, str, str] = ("fail", f"no answer within {deadline:.0f} s", "")
    return tuple(
        Probe(question.what, question.asked, answer[1], answer[0], answer[2])
        for question, answer in ((question, found.get(number, late)) for number, question in enumerate(questions))
    )


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:300]
