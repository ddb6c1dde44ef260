"""The name server of a rehearsal: answers for the site, and gives every other name an address that leads nowhere.

So it is seen not only which name a program asks for, but also what it then wants from there. RFC 1035, section 4;
only what a stub resolver sends is understood. Not here: the sockets.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

SINK = ipaddress.ip_network("198.18.0.0/15")
SINK_6 = ipaddress.ip_network("2001:2::/48")
"""Addresses for benchmarks (RFC 2544, RFC 5180), which nobody has."""

_A, _AAAA, _IN = 1, 28, 1
_RESPONSE, _AUTHORITATIVE, _RECURSION = 0x8000, 0x0400, 0x0080
_SERVER_FAILURE, _FORMAT_ERROR, _NOT_IMPLEMENTED = 2, 1, 4
_TTL = 1


@dataclass
class NameServer:
    """`records` are the site's names. With `sink` other names get an address each; without, SERVFAIL.

    With `six` they get one of IPv6 as well; it counts as the same name.
    """

    records: Mapping[str, str]
    sink: bool = True
    six: bool = False
    _given: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def answer(self, query: bytes) -> tuple[bytes, str]:
        """The answer to a query, and the name where it is one that the site does not have.

        An empty answer for what is no query at all.
        """
        if len(query) < 12 or query[2] & 0x80:
            return b"", ""
        name, end = _question(query)
        if not name or end + 4 > len(query):
            return _reply(query, len(query) if not name else end, code=_FORMAT_ERROR), ""
        kind = int.from_bytes(query[end : end + 2], "big")
        question = end + 4
        known = self.records.get(name)
        if known is not None:
            return _reply(query, question, addresses=(known,) if kind == _A else ()), ""
        if query[2] >> 3 & 0x0F:
            return _reply(query, question, code=_NOT_IMPLEMENTED), name
        if not self.sink:
            return _reply(query, question, code=_SERVER_FAILURE), name
        return _reply(query, question, addresses=self._addresses(name, kind)), name

    def name_of(self, address: str) -> str:
        """The name that an address was given for, or nothing."""
        return self._names.get(address, "")

    def _addresses(self, name: str, kind: int) -> tuple[str, ...]:
        number = self._given.setdefault(name, len(self._given))
        four = str(SINK[1 + number % (SINK.num_addresses - 2)])
        six = str(SINK_6[1 + number])
        self._names[four] = self._names[six] = name
        if kind == _AAAA:
            return (six,) if self.six else ()
        return (four,) if kind == _A else ()


def _question(query: bytes) -> tuple[str, int]:
    """The name of the first question and where it ends; an empty name for what cannot be read."""
    labels: list[str] = []
    at = 12
    while at < len(query):
        length = query[at]
        at += 1
        if length == 0:
            return ".".join(labels).lower(), at
        if length > 63 or at + length > len(query) or len(labels) > 127:
            break
        labels.append(query[at : at + length].decode("ascii", "replace"))
        at += length
    return "", at


def _reply(query: bytes, question: int, *, code: int = 0, addresses: tuple[str, ...] = ()) -> bytes:
    wanted = int.from_bytes(query[2:4], "big") & 0x0100
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION | wanted | code
    has_question = question > 12 and code != _FORMAT_ERROR
    head = query[:2] + flags.to_bytes(2, "big") + (1 if has_question else 0).to_bytes(2, "big")
    head += len(addresses).to_bytes(2, "big") + bytes(4)
    answers = b"".join(map(_record, addresses))
    return head + (query[12:question] if has_question else b"") + answers


def _record(address: str) -> bytes:
    packed = ipaddress.ip_address(address).packed
    kind = _A if len(packed) == 4 else _AAAA
    fields = (b"\xc0\x0c", kind.to_bytes(2, "big"), _IN.to_bytes(2, "big"), _TTL.to_bytes(4, "big"))
    return b"".join((*fields, len(packed).to_bytes(2, "big"), packed))
