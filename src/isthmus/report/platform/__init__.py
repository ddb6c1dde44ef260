"""The report of a whole platform: what it needs, what is there, what crossed, what is open.

`make` puts together what others found; `forms` writes it. Not here: finding any of it, and the report of one
release (`report.release`).
"""

from isthmus.report.platform.forms import FORMATS, write
from isthmus.report.platform.make import Known, make_report
from isthmus.report.platform.model import PlatformReport

__all__ = ["FORMATS", "Known", "PlatformReport", "make_report", "write"]
