"""The console: pages for people over what a server has, on the same address as its registry.

Server-rendered, readable without JavaScript, read-only. Added to the registry's application by `add_console`,
made of what `make_parts` puts together.
"""

from isthmus.serve.console.parts import make_parts
from isthmus.serve.console.routes import add_console

__all__ = ["add_console", "make_parts"]
