"""Inline SVG for pages: no script, no font, colours from the page's style. Numbers stand beside them as text.

Not here: what is shown.
"""

from collections.abc import Sequence

from markupsafe import Markup

_HIDDEN = Markup('preserveAspectRatio="none" aria-hidden="true" focusable="false"')


def bar(value: float, most: float, part: float | None = None) -> Markup:
    """A horizontal bar as long as `value` of `most`; `part` of it, from the left, is filled, the rest is faint."""
    if most <= 0:
        return Markup("")
    width = max(0.4, 100 * value / most)
    filled = width if part is None else (width * part / value if value else 0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" {}><rect class="bar-rest" width="{:.2f}" height="8" rx="1"/>'
        '<rect class="bar-part" width="{:.2f}" height="8" rx="1"/></svg>'
    ).format(_HIDDEN, width, filled)


def stack(values: Sequence[float]) -> Markup:
    """Shares of a whole, one behind the other; the nth has the class `share-n`, from 1 to 6 and over again."""
    total = sum(values)
    if total <= 0:
        return Markup("")
    pieces, reached = [], 0.0
    for place, value in enumerate(values):
        width = 1000 * value / total
        pieces.append(
            Markup('<rect class="share-{}" x="{:.2f}" width="{:.2f}" height="20"/>').format(
                place % 6 + 1, reached, max(0.0, width - 2)
            )
        )
        reached += width
    return Markup('<svg class="stack" viewBox="0 0 1000 20" {}>{}</svg>').format(_HIDDEN, Markup("").join(pieces))


def columns(values: Sequence[float], height: int = 120) -> Markup:
    """Values over time as columns, the highest as high as the picture."""
    most = max(values, default=0)
    if most <= 0:
        return Markup("")
    step = 600 / len(values)
    pieces = [
        Markup('<rect class="bar-part" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" rx="2"/>').format(
            place * step + step * 0.1, height - height * value / most, step * 0.8, height * value / most
        )
        for place, value in enumerate(values)
    ]
    body = Markup("").join(pieces)
    return Markup('<svg class="columns" viewBox="0 0 600 {}" {}>{}</svg>').format(height, _HIDDEN, body)
