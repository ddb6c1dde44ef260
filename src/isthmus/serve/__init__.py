"""The closed side's registry: the OCI distribution-spec, straight from a store.

Not here: fetching anything from elsewhere.
"""

from typing import TYPE_CHECKING

from isthmus.late import names_of

if TYPE_CHECKING:
    from isthmus.serve.app import create_app
    from isthmus.serve.hosting import ServerThread, serve_forever, serving
    from isthmus.serve.options import Listen

_HOME = {
    "create_app": "isthmus.serve.app",
    "ServerThread": "isthmus.serve.hosting",
    "serve_forever": "isthmus.serve.hosting",
    "serving": "isthmus.serve.hosting",
    "Listen": "isthmus.serve.options",
}
"""Imported when first asked for: the process that looks at a store (`survey`) needs no server."""

__all__ = ["Listen", "ServerThread", "create_app", "serve_forever", "serving"]

if not TYPE_CHECKING:
    __getattr__ = names_of(__name__, globals(), _HOME)
