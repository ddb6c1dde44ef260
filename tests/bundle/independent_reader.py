"""A reader of volumes written from docs/bundle-format.md alone: the standard library, nothing of Isthmus.

Reads front to back, as from a pipe. Raises ValueError for whatever the page says is refused.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

ALGORITHMS = {1: ("sha256", 32), 2: ("sha512", 64)}


def take(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    need(len(data) == count, "cut off")
    return data


def need(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)


def checked(data: bytes) -> bytes:
    need(struct.unpack(">I", data[-4:])[0] == zlib.crc32(data[:-4]), "CRC")
    return data


def digest_of(number: int, field: bytes) -> str:
    need(number in ALGORITHMS, "algorithm")
    name, size = ALGORITHMS[number]
    need(not any(field[size:]), "digest not filled up with zeros")
    return f"{name}:{field[:size].hex()}"


def read_volume(stream: BinaryIO) -> Iterator[tuple[int, str, int, int, bytes]]:
    """Yield (kind, digest, offset, total, payload) of every record, the manifest first."""
    head = checked(take(stream, 1024))
    need(
        head[:8] == bytes.fromhex("894953560d0a1a0a") and struct.unpack(">H", head[8:10])[0] == 1, "magic, version"
    )
    number, volumes, bundle, size, manifest_size, count, slots = struct.unpack(">II32sQQIH", head[12:74])
    need(slots <= 8 and not any(head[74:80]) and not any(head[80 + 104 * slots : 1020]), "zeros")
    at, entries, manifest = 1024, [], None
    for index in range(count):
        header = checked(take(stream, 112))
        need(header[:4] == b"ISVR" and not any(header[5:8] + header[33:40] + header[104:108]), "record")
        length, offset, total = struct.unpack(">QQQ", header[8:32])
        digest = digest_of(header[32], header[40:104])
        if index == 0:
            need(length <= 16 * 1024 * 1024 and header[4] == 1 and length == manifest_size, "manifest record")
        else:
            assert manifest is not None
            need([header[4], offset, length] == [manifest[index - 1][n] for n in (0, 2, 3)], "row")
        payload = take(stream, length)
        need(take(stream, 32) == hashlib.sha256(payload).digest(), "trailer")
        if index == 0:
            need(hashlib.sha256(payload).digest() == bundle, "bundle id")
            manifest = rows(payload, number, volumes, size)
        kind_and_algorithm = bytes([header[4], 0, header[32]]) + bytes(5)
        place = struct.pack(">QQQQ", offset, total, at, length)
        entries.append(kind_and_algorithm + header[40:104] + place + hashlib.sha256(payload).digest())
        at += 112 + length + 32
        yield header[4], digest, offset, total, payload
    index_bytes = take(stream, 136 * count)
    need(index_bytes == b"".join(entries), "index")
    foot = checked(take(stream, 1024))
    expected = struct.pack(">QQQ", at, 136 * count, size) + hashlib.sha256(index_bytes).digest() + bundle
    need(foot[:8] == b"ISVEND\r\n" and foot[8:96] == expected and not any(foot[106:112]), "footer")
    seals = struct.unpack(">H", foot[104:106])[0]
    need(seals <= 8 and not any(foot[112 + 104 * seals : 1020]), "zeros")
    need(foot[96:104] == struct.pack(">II", number, count) and at + 136 * count + 1024 == size, "footer")
    need(stream.read(1) == b"", "something behind the footer")


def rows(raw: bytes, number: int, volumes: int, size: int) -> list[list[int]]:
    manifest: dict[str, Any] = json.loads(raw)
    need(
        manifest["format"] == "isthmus-bundle" and manifest["version"] == 1 and not manifest["requires"], "version"
    )
    need(
        json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == raw,
        "canonical",
    )
    need(len(manifest["volumes"]) == volumes and manifest["volumes"][number - 1]["size"] == size, "volume")
    found: list[list[int]] = manifest["volumes"][number - 1]["records"]
    return found
