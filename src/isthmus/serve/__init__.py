"""The closed side's registry: the read path of the OCI distribution-spec, straight from a store.

Not here: pushing, and fetching anything from elsewhere.
"""

from isthmus.serve.app import create_app
from isthmus.serve.hosting import Listen, ServerThread, serve_forever, serving

__all__ = ["Listen", "ServerThread", "create_app", "serve_forever", "serving"]
