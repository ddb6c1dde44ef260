"""The site's registry in the guide's test: the simulator of Harbor behind TLS, at an address. It is not Harbor.

`python -m tests.guide.harbor ADDRESS CERTIFICATE KEY BEHIND`, with a registry listening at BEHIND.
"""

import socket
import ssl
import sys
import threading
from contextlib import suppress

from tests.transfer.harbor_simulator import HarborSimulator


def serve(address: str, certificate: str, key: str, behind: str) -> None:
    """Take TLS connections on port 443 and hand what they say to the simulator, until ended."""
    harbor = HarborSimulator(behind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server((address, 443))
    print("ready", flush=True)
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=_join, args=(plain, context, harbor.port), daemon=True).start()


def _join(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as behind:
        outside = context.wrap_socket(plain, server_side=True)
        threading.Thread(target=_copy, args=(behind, outside), daemon=True).start()
        _copy(outside, behind)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    serve(*sys.argv[1:])
