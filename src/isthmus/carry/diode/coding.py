"""Reed–Solomon over the blocks of a group: parity symbols, and lost symbols from the rest.

The code is that of a bundle's parity (`isthmus.bundle.galois`): any `rows` symbols of a block may be lost.
Not here: which symbols are lost (`assembling`).
"""

from collections.abc import Mapping, Sequence

from isthmus.bundle.galois import coefficient, inverted, multiply

Matrix = Sequence[Sequence[int]]


def matrix_of(columns: int, rows: int) -> list[list[int]]:
    """What each parity row has of each column."""
    return [[coefficient(row, column, columns) for column in range(columns)] for row in range(rows)]


def parity_of(matrix: Matrix, group: memoryview) -> list[memoryview]:
    """The parity rows of a whole group, `depth` symbols each: all its blocks at once."""
    columns = len(matrix[0])
    size = len(group) // columns
    return multiply(matrix, [group[size * column : size * (column + 1)] for column in range(columns)])


def solve(
    matrix: Matrix, known: Mapping[int, memoryview], parity: Mapping[int, memoryview], lost: Sequence[int]
) -> list[memoryview]:
    """The lost columns of a block, in order, from what is known of it and as many parity symbols as are lost.

    Columns that are neither known nor lost are zeros. All views are writable and equally long.
    """
    rows = sorted(parity)[: len(lost)]
    through = [
        [*(int(row == other) for other in rows), *(matrix[row][column] for column in known)] for row in rows
    ]
    rest = multiply(through, [*(parity[row] for row in rows), *known.values()])
    return multiply(inverted([[matrix[row][column] for column in lost] for row in rows]), rest)
