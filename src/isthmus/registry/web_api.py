"""Requests to another HTTP API on the registry's own host, with its credentials: Harbor's, for projects.

Basic authentication is sent at once, because such an API asks for none. Not here: what is asked
(`transfer.harbor`).
"""

from isthmus.registry.session import Request, Session

ANSWER_LIMIT = 1024 * 1024


def ask(
    session: Session, method: str, target: str, body: bytes = b"", accept: frozenset[int] = frozenset({200})
) -> tuple[int, bytes]:
    """The status, one of the accepted, and the body of at most 1 MiB; raises UnreachableError."""
    authorization = session.basic_authorization()
    headers = {"Accept": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    if body:
        headers["Content-Type"] = "application/json"
    where = f"{session.place.name}{target}"
    request = Request(
        method=method, target=target, where=where, accept=accept, headers=headers, body=body,
    )  # fmt: skip
    response, answer = session.read(request, ANSWER_LIMIT)
    return response.status, answer
