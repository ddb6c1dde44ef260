"""The page of a rehearsal, for people. Not here: how pages are made (`report`)."""

from isthmus import __version__
from isthmus.rehearse.result import RehearsalResult
from isthmus.report.page import render


def rehearsal_page(result: RehearsalResult, name: str = "platform") -> str:
    """One file of HTML without scripts and without anything from elsewhere."""
    return render("rehearsal.html.j2", result=result, name=name, tool=f"isthmus {__version__}")
