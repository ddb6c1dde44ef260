"""The sheet itself: lines as text, QR codes as one SVG, or both as a page to print.

Not here: the lines (`lines`).
"""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from isthmus.bundle.medium import write_file
from isthmus.carry.paper.lines import SEPARATOR
from isthmus.errors import UsageError

KINDS: Final = (".txt", ".html", ".svg")
_LINES_A_CODE: Final = 14
_SCALE: Final = 3
_ACROSS: Final = 2

_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Isthmus receipt {name}</title>
<style>
body {{ font: 11pt sans-serif; margin: 12mm }} pre {{ font: 9pt monospace; line-height: 1.5 }}
figure {{ display: inline-block; margin: 4mm; break-inside: avoid }}
</style></head><body>
<h1>Isthmus receipt {name}</h1>
<p>{about}</p>
<p>Scan every code, or type the lines below, into one text file, in any order. Then:
<code>isthmus receipt --read FILE --out site.receipt</code></p>
{codes}
<pre>{lines}</pre>
</body></html>
"""


def write_sheet(path: Path, lines: Sequence[str], about: str) -> int:
    """Write `.txt`, `.html` or `.svg`; how many QR codes there are.

    Raises UsageError `wrong-usage` for other names, and where QR codes are wanted and segno is not installed;
    UnreachableError `io-failed`.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UsageError("wrong-usage", f"a sheet is one of {', '.join(KINDS)}", where=str(path))
    if kind == ".txt":
        text, count = f"{about}\n\n" + "\n".join(lines) + "\n", 0
    else:
        codes = list(_codes(lines))
        text, count = _svg(codes) if kind == ".svg" else _page(codes, lines, about), len(codes)
    write_file(path, [memoryview(text.encode())])
    return count


def code_texts(lines: Sequence[str]) -> list[str]:
    """What each QR code says: some lines without their spaces."""
    tight = ["".join(line.split()) for line in lines]
    return [SEPARATOR.join(tight[at : at + _LINES_A_CODE]) for at in range(0, len(tight), _LINES_A_CODE)]


def _codes(lines: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each code as SVG, and how wide it is."""
    try:
        import segno
    except ImportError as error:
        raise UsageError(
            "wrong-usage",
            "QR codes need segno, which is not installed",
            hint="pip install 'isthmus[qr]', or write lines to type: --paper F.txt",
        ) from error
    for text in code_texts(lines):
        code = segno.make_qr(text, error="m")
        yield code.svg_inline(scale=_SCALE, border=4), int(code.symbol_size(scale=_SCALE, border=4)[0])


def _svg(codes: Sequence[tuple[str, int]]) -> str:
    side = max(width for _, width in codes)
    rows = -(-len(codes) // _ACROSS)
    parts = [
        f'<g transform="translate({side * (at % _ACROSS)},{side * (at // _ACROSS)})">{svg}</g>'
        for at, (svg, _) in enumerate(codes)
    ]
    width, height = side * min(_ACROSS, len(codes)), side * rows
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'


def _page(codes: Sequence[tuple[str, int]], lines: Sequence[str], about: str) -> str:
    figures = "\n".join(
        f"<figure>{svg}<figcaption>{at} of {len(codes)}</figcaption></figure>"
        for at, (svg, _) in enumerate(codes, 1)
    )
    return _PAGE.format(
        name=html.escape(lines[0][:4]),
        about=html.escape(about),
        codes=figures,
        lines=html.escape("\n".join(lines)),
    )
