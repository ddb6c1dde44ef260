"""Arithmetic in GF(2^8) with the polynomial 0x11D: the Cauchy matrix, its inverses, and rows times shards.

ISA-L multiplies where a library of it is at hand (that in the wheel of pyeclib, or the system's), Python itself
otherwise; the bytes are the same. Not here: what the shards are (`parity`).
"""

import ctypes
import importlib.util
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

Matrix = Sequence[Sequence[int]]

_POLYNOMIAL: Final = 0x11D
_SYSTEM_LIBRARY: Final = "libisal.so.2"
_SLICE: Final = 16 * 1024
"""Bytes of each shard at a time: so much of a hundred shards stays in the cache while rows are made from it."""
_PADDING: Final = 4096 + 64


def _tables() -> tuple[list[int], list[int]]:
    powers, logarithms, value = [0] * 510, [0] * 256, 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    return powers, logarithms


_POWERS, _LOGARITHMS = _tables()


def times(a: int, b: int) -> int:
    """The product of two elements."""
    return _POWERS[_LOGARITHMS[a] + _LOGARITHMS[b]] if a and b else 0


def inverse(a: int) -> int:
    """The element whose product with `a`, which is not 0, is 1."""
    return _POWERS[255 - _LOGARITHMS[a]]


def coefficient(row: int, column: int, columns: int) -> int:
    """What a row has in a column: 1 / ((columns + row) xor column), as in ISA-L's Cauchy matrix."""
    return inverse((columns + row) ^ column)


def inverted(matrix: Matrix) -> list[list[int]]:
    """The inverse of a square matrix that has one, as every square part of a Cauchy matrix does."""
    size = len(matrix)
    rows = [bytes([*row, *(int(i == j) for j in range(size))]) for i, row in enumerate(matrix)]
    for at in range(size):
        pivot = next(i for i in range(at, size) if rows[i][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = rows[at].translate(_product_table(inverse(rows[at][at])))
        for i in range(size):
            if i != at and (factor := rows[i][at]):
                rows[i] = combined((1, factor), (rows[i], rows[at]))
    return [list(row[size:]) for row in rows]


def combined(factors: Sequence[int], rows: Sequence[bytes]) -> bytes:
    """The sum of rows, which are equally long, each times its factor."""
    total = 0
    for factor, row in zip(factors, rows, strict=True):
        total ^= int.from_bytes(row.translate(_product_table(factor)), "little")
    return total.to_bytes(len(rows[0]), "little")


def multiply(matrix: Matrix, shards: Sequence[memoryview], *, library: bool = True) -> list[memoryview]:
    """Each row of the matrix times the shards, which are writable and equally long."""
    isal = _isal() if library else None
    return _with_isal(isal, matrix, shards) if isal else _with_python(matrix, shards)


@cache
def _product_table(factor: int) -> bytes:
    return bytes(times(factor, value) for value in range(256))


def _with_python(matrix: Matrix, shards: Sequence[memoryview]) -> list[memoryview]:
    length = len(shards[0])
    sums = [0] * len(matrix)
    for column, shard in enumerate(shards):
        data = bytes(shard)
        for number, row in enumerate(matrix):
            if row[column]:
                product = data if row[column] == 1 else data.translate(_product_table(row[column]))
                sums[number] ^= int.from_bytes(product, "little")
    return [memoryview(bytearray(total.to_bytes(length, "little"))) for total in sums]


def _with_isal(isal: ctypes.CDLL, matrix: Matrix, shards: Sequence[memoryview]) -> list[memoryview]:
    columns, rows, length = len(shards), len(matrix), len(shards[0])
    results = [memoryview(bytearray(length)) for _ in matrix]
    if not rows:
        return results
    flat = (ctypes.c_ubyte * (columns * rows)).from_buffer_copy(b"".join(map(bytes, matrix)))
    tables = (ctypes.c_ubyte * (32 * columns * rows))()
    isal.ec_init_tables(columns, rows, flat, tables)
    sources, targets = _addresses(shards), _addresses(results)
    for start in range(0, length, _SLICE):
        part = min(_SLICE, length - start)
        isal.ec_encode_data(part, columns, rows, tables, _moved(sources, start), _moved(targets, start))
    return results


def _addresses(views: Sequence[memoryview]) -> list[int]:
    return [ctypes.addressof(ctypes.c_ubyte.from_buffer(view)) for view in views]


def _moved(addresses: Sequence[int], start: int) -> "ctypes.Array[ctypes.c_void_p]":
    return (ctypes.c_void_p * len(addresses))(*(address + start for address in addresses))


def spaced(count: int, size: int) -> list[memoryview]:
    """Writable shards of one buffer, placed so that they do not all fall on the same lines of the cache."""
    whole, step = memoryview(bytearray(count * (size + _PADDING))), size + _PADDING
    return [whole[step * number : step * number + size] for number in range(count)]


@cache
def _isal() -> ctypes.CDLL | None:
    for name in (*_in_wheel(), _SYSTEM_LIBRARY):
        try:
            library = ctypes.CDLL(name)
            for function in (library.ec_init_tables, library.ec_encode_data):
                function.restype = None
        except (OSError, AttributeError):
            continue
        return library
    return None


def _in_wheel() -> list[str]:
    """Where pyeclib's wheel has its own ISA-L; pyeclib itself is not loaded: it allows 32 shards, not 256."""
    found = importlib.util.find_spec("pyeclib")
    if found is None or not found.origin:
        return []
    beside = Path(os.path.dirname(found.origin)).with_name("pyeclib.libs")
    return [str(path) for path in sorted(beside.glob("libisal*.so*"))]
