"""Inline SVG for HTML: the palette, each policy's style, and Matplotlib figures turned into markup.

Matplotlib draws in sentinel colours that are then replaced by CSS variables, so that one drawing serves light, dark and
print. Text that users chose (policy names) never passes through Matplotlib: figures are drawn with placeholders that
are replaced by escaped text, so no name can change the markup, the layout or the mathematics of a label. The same input
gives the same bytes: fixed hash salt, no metadata, margins in pixels.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOREGROUND, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
"""Sentinel colours of text, secondary text and other policies, grid lines, and the page itself."""
HUES = ("#050505", "#060606", "#070707", "#080808", "#090909", "#0a0a0a")
"""Sentinel colours of policies. Their light and dark values, Okabe and Ito's palette (jfly.uni-koeln.de/color) moved to
at least 3 : 1 against either background, are CSS variables in the template."""
VARIABLES: dict[str, str] = {
    FOREGROUND: "var(--fg)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--bg)",
    **{hue: f"var(--c{index})" for index, hue in enumerate(HUES)},
}
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.6), (1.6, 1.3), (6, 1.5, 1.5, 1.5), (9, 2), (3, 1, 1, 1, 1, 1))
MARKERS = ("o", "s", "^", "D", "v", "P")
MARKER_PATHS = (
    "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z",
    "M-3-3h6v6h-6z",
    "M0-3.6L3.6 3H-3.6z",
    "M0-4L4 0L0 4L-4 0z",
    "M0 3.6L3.6-3H-3.6z",
    "M-1.3-3.6h2.6v2.3h2.3v2.6h-2.3v2.3h-2.6v-2.3h-2.3v-2.6h2.3z",
)
LINE_WIDTH = 1.7
RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "glia-bench",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "text.color": FOREGROUND,
    "axes.labelcolor": FOREGROUND,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": FOREGROUND,
    "ytick.labelcolor": FOREGROUND,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "figure.facecolor": "none",
    "lines.linewidth": LINE_WIDTH,
    "lines.markersize": 5,
    "path.simplify": True,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one policy is drawn, in every figure: colour, dash and marker differ together, so colour is never needed.

    Attributes:
        hue: Index into `HUES`.
        dash: Index into `DASHES` and `MARKERS`.
    """

    hue: int
    dash: int

    @property
    def sentinel(self) -> str:
        """The colour that Matplotlib is given."""
        return HUES[self.hue]

    def line(self) -> dict[str, Any]:
        """Return the keyword arguments of `Axes.plot`."""
        dash = DASHES[self.dash]
        return {"color": self.sentinel, "linestyle": (0, dash) if dash else "-", "zorder": 3 - 0.01 * self.dash}

    @property
    def swatch(self) -> str:
        """An inline SVG of 30 x 12 px: the policy's line and marker, for legends and tables."""
        dashes = " ".join(f"{length * LINE_WIDTH:.3g}" for length in DASHES[self.dash])
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        colour = VARIABLES[self.sentinel]
        return (
            f'<svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">'
            f'<path d="M0 6H30" style="stroke:{colour};stroke-width:{LINE_WIDTH}"{dashed}/>'
            f'<path d="{MARKER_PATHS[self.dash]}" transform="translate(15 6)" style="fill:{colour}"/></svg>'
        )


PUBLISHED_SWATCH = (
    '<svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">'
    '<path d="M15 1.5L19.5 6L15 10.5L10.5 6z" style="stroke:var(--fg);stroke-width:1.1"/></svg>'
)
"""The legend's hollow diamond of published values."""
OTHER_SWATCH = (
    '<svg class="swatch" viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">'
    '<path d="M0 6H30" style="stroke:var(--muted);stroke-width:.9"/></svg>'
)
"""The legend's line of policies that have no style of their own."""


def assign_styles(policies: Sequence[str]) -> dict[str, Style]:
    """Give each policy its style by place: six that differ in everything, then the same colours with other dashes."""
    count = len(HUES)
    return {
        name: Style(hue=index % count, dash=(index + index // count) % count) for index, name in enumerate(policies)
    }


def drawing(**changed: Any) -> AbstractContextManager[None]:
    """Return the context in which figures are made and rendered: the report's Matplotlib settings, and these."""
    import matplotlib

    settings: Any = {**RC, **changed}
    return matplotlib.rc_context(settings)


def new_figure(
    width_px: float, height_px: float, boxes: Sequence[tuple[float, float, float, float]]
) -> tuple["Figure", list["Axes"]]:
    """Return a figure with axes at boxes of (left, top, right, bottom) margins in pixels: a point is a CSS pixel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / 72, height_px / 72), dpi=72)
    axes = []
    for left, top, right, bottom in boxes:
        rectangle = (
            left / width_px,
            bottom / height_px,
            (width_px - left - right) / width_px,
            (height_px - top - bottom) / height_px,
        )
        axes.append(figure.add_axes(rectangle))
    return figure, axes


def render(figure: "Figure", key: str, label: str, texts: Mapping[str, str] | None = None) -> str:
    """Return the figure as an SVG element with a text alternative.

    Args:
        figure: Drawn in sentinel colours.
        key: Prefix of ids, unique in the page.
        label: Text alternative.
        texts: Placeholder to the text that takes its place, escaped here.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    body = svg[svg.index(">") + 1 :]
    body = re.sub("|".join(VARIABLES), lambda sentinel: VARIABLES[sentinel[0]], body)
    if texts:
        body = re.sub("|".join(map(re.escape, texts)), lambda placeholder: html.escape(texts[placeholder[0]]), body)
    body = re.sub(r"\s*\n\s*", "\n", body).strip()
    return f'<svg class="plot" {view_box[0]} role="img" aria-label="{html.escape(label)}">\n{body}'


def short(name: str, limit: int = 26) -> str:
    """Return a name that fits a row label, its control characters made visible."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
