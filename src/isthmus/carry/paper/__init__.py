"""Paper as a way back: a receipt as lines that can be typed, and as QR codes that can be scanned.

Not here: what a receipt says (`isthmus.bundle.compact`).
"""

from isthmus.carry.paper.lines import read_lines, to_lines
from isthmus.carry.paper.sheet import write_sheet

__all__ = ["read_lines", "to_lines", "write_sheet"]
