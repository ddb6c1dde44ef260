"""The closed side's registry: the OCI distribution-spec, straight from a store.

Not here: fetching anything from elsewhere.
"""

from isthmus.serve.app import create_app
from isthmus.serve.hosting import ServerThread, serve_forever, serving
from isthmus.serve.options import Listen

__all__ = ["Listen", "ServerThread", "create_app", "serve_forever", "serving"]
