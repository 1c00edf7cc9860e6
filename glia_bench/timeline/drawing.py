"""SVG for timelines: colours for light and dark, areas over a time axis, texts; what is drawn is decided elsewhere.

One unit is one CSS pixel at the figure's nominal width. Areas are step functions with one value per pixel column, so a
figure's size depends on its width, not on how much happened. All text is escaped.
"""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.timeline.series import Floats
from glia_bench.timeline.window import Window

LEFT, PLOT_WIDTH, RIGHT, MARGIN = 132, 900, 28, 8
WIDTH = LEFT + PLOT_WIDTH + RIGHT
MAX_LABEL = 22
"""Characters that fit left of the plot."""
STYLE = """
.glia { --bg:#fff; --fg:#1b1e22; --soft:#565d64; --line:#c9cdd1; --grid:#e6e8ea; --decode:#005a9c; --prefill:#d99000;
  --kv:#00916f; --wait:#a04a86; --preempt:#b53a00; --held:#3a9bd5; --arrive:#6f757b; --fault:#b53a00;
  font-family: -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", Arial, sans-serif }
@media screen and (prefers-color-scheme: dark) { .glia { --bg:#15181b; --fg:#e4e6e8; --soft:#a4abb2; --line:#434a51;
  --grid:#2a2f34; --decode:#4f9fe6; --prefill:#f2bd4a; --kv:#1fb58c; --wait:#e39ac6; --preempt:#ff7d45; --held:#9fd8fa;
  --arrive:#9aa1a8; --fault:#ff7d45 } }
.glia text { fill: var(--fg); font-size: 11.5px; font-variant-numeric: tabular-nums }
.glia .title { font-size: 16px; font-weight: 600 }
.glia .name { font-size: 12.5px; font-weight: 600 }
.glia .soft { fill: var(--soft) }
.glia .tick { fill: var(--soft); font-size: 10px }
.glia .small { font-size: 9px }
.glia .grid { stroke: var(--grid) }
.glia .base { stroke: var(--line) }
.glia .cap { stroke: var(--soft); stroke-dasharray: 4 3 }
.glia .end { text-anchor: end } .glia .middle { text-anchor: middle }
.glia .paper { fill: var(--bg) }
.glia .decode { fill: var(--decode) } .glia .prefill { fill: var(--prefill) } .glia .kv { fill: var(--kv) }
.glia .wait { fill: var(--wait) } .glia .preempt { fill: var(--preempt) } .glia .held { fill: var(--held) }
.glia .arrive { fill: var(--arrive) } .glia .fault { fill: var(--fault) }
.glia .pale { opacity: .38 } .glia .veil { opacity: .13 }
.glia .loading { fill: url(#glia-hatch) }
.glia .requested { fill: none; stroke: var(--soft); stroke-dasharray: 2 2 }
.glia .draining { fill: url(#glia-dots) }
.glia .ready { fill: var(--grid) }
"""
PATTERNS = (
    '<defs><pattern id="glia-hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V5" style="stroke:var(--soft);stroke-width:2.4"/></pattern>'
    '<pattern id="glia-dots" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<circle cx="2" cy="2" r="1.1" style="fill:var(--soft)"/></pattern></defs>'
)


def number(value: float) -> str:
    """Return a coordinate, to a tenth, as short as it can be."""
    text = f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")  # + 0.0 makes -0.0 a plain 0
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def compact(value: float) -> str:
    """Return a number for a reader: three digits, thousands as k."""
    if value >= 10_000:
        return f"{value / 1000:.3g}k"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def nice_ceiling(value: float) -> float:
    """Return the smallest of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten that is not below a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next((m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8) if m * power >= value * (1 - 1e-9)), 10 * power))


@dataclass(slots=True)
class Canvas:
    """An SVG that grows downwards: what has been drawn, and the `y` at which the next thing begins."""

    window: Window
    parts: list[str] = field(default_factory=list)
    y: float = 0.0

    def edges_ps(self, num_bins: int) -> Ints:
        """Return the ends of equal bins over the window."""
        start_ps, end_ps = self.window.start_ps, self.window.end_ps
        steps = np.arange(num_bins + 1, dtype=np.float64) / num_bins
        return start_ps + np.ceil(steps * (end_ps - start_ps)).astype(np.int64)

    def x(self, time_ps: float) -> float:
        """Return where a time lies, kept within the plot."""
        share = (time_ps - self.window.start_ps) / (self.window.end_ps - self.window.start_ps)
        return LEFT + PLOT_WIDTH * min(1.0, max(0.0, share))

    def text(self, x: float, y: float, text: str, style: str = "") -> None:
        """Add a line of text whose baseline begins (or, by its style, ends) at a point."""
        shown = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{number(x)}" y="{number(y)}"{shown}>{html.escape(text)}</text>')

    def rectangle(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Add a rectangle."""
        self.parts.append(
            f'<rect class="{style}" x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"/>'
        )

    def line(self, y: float, style: str = "base") -> None:
        """Add a horizontal line across the plot."""
        self.parts.append(f'<path class="{style}" d="M{LEFT} {number(y)}h{PLOT_WIDTH}"/>')

    def area(self, base: float, heights: Floats, style: str) -> None:
        """Add the area between a base line and a step function.

        Args:
            base: Height of the base line.
            heights: Pixels above it (below: negative), one per bin of equal width; shape (num_bins,).
            style: Classes.
        """
        columns = np.rint(2 * heights)
        # What is not nothing is seen.
        columns = np.where((columns == 0) & (heights != 0), np.sign(heights), columns) / 2
        if not columns.any():
            return
        step = PLOT_WIDTH / len(columns)
        starts = np.flatnonzero(np.diff(columns, prepend=np.nan) != 0)
        runs = np.diff(np.append(starts, len(columns)))
        path = [f"M{LEFT} {number(base)}"]
        before = 0.0
        for height, run in zip(columns[starts].tolist(), runs.tolist(), strict=True):
            path.append(f"v{number(before - height)}h{number(run * step)}")
            before = height
        self.parts.append(f'<path class="{style}" d="{"".join(path)}V{number(base)}z"/>')

    def lane_label(self, y: float, text: str, style: str = "soft") -> None:
        """Add the name of a lane, left of the plot."""
        self.text(0, y, text, style)

    def tick(self, y: float, text: str) -> None:
        """Add a value of a lane's axis, left of the plot."""
        self.text(LEFT - 5, y, text, "tick end")

    def name_on_paper(self, x: float, y: float, text: str) -> None:
        """Add a short centred text that stays readable over a pattern."""
        width = 6.0 * len(text) + 4
        self.rectangle(x - width / 2, y - 8, width, 10, "paper")
        self.text(x, y, text, "tick middle")

    def time_axis(self, y: float) -> None:
        """Add the times, in seconds, above `y`."""
        ticks = list(self.times())
        for x, label in ticks:
            self.text(x, y, label, "tick middle")
        self.text(0, y, "time, s", "soft")

    def grid(self, top: float, bottom: float) -> str:
        """Return vertical lines at the ticks of the time axis."""
        path = "".join(f"M{number(x)} {number(top)}V{number(bottom)}" for x, _ in self.times())
        return f'<path class="grid" d="{path}"/>'

    def times(self) -> Iterator[tuple[float, str]]:
        """Yield where the ticks of the time axis lie and what they say."""
        start_s, end_s = self.window.seconds
        power = 10.0 ** math.floor(math.log10((end_s - start_s) / 8))
        step = next(m * power for m in (1, 2, 5, 10) if (end_s - start_s) / (m * power) <= 10)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        for k in range(math.ceil(start_s / step - 1e-9), math.floor(end_s / step + 1e-9) + 1):
            yield self.x(k * step * PS_PER_S), f"{k * step:.{decimals}f}"

    def svg(self, label: str) -> str:
        """Return the drawing as a self-contained SVG element.

        Args:
            label: Text alternative.
        """
        height = math.ceil(self.y)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="glia" '
            f'viewBox="-{MARGIN} 0 {WIDTH + MARGIN} {height}" width="{WIDTH + MARGIN}" '
            f'height="{height}" role="img" aria-label="{html.escape(label)}">'
        )
        paper = f'<rect class="paper" x="-{MARGIN}" width="{WIDTH + MARGIN}" height="{height}"/>'
        return "\n".join([head, f"<style>{STYLE}</style>", PATTERNS, paper, *self.parts, "</svg>\n"])


def legend(canvas: Canvas, entries: Sequence[tuple[str, str]]) -> None:
    """Add a legend: (classes of a swatch, text); rows are broken where they would not fit."""
    x = float(LEFT)
    for style, text in entries:
        width = 20 + 5.7 * len(text)
        if x + width > WIDTH:
            x, canvas.y = float(LEFT), canvas.y + 17
        canvas.rectangle(x, canvas.y - 9, 12, 10, style)
        canvas.text(x + 16, canvas.y, text, "soft")
        x += width + 10
    canvas.y += 8


def short(text: str) -> str:
    """Return a text that fits left of the plot, its control characters made visible."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return shown if len(shown) <= MAX_LABEL else shown[: MAX_LABEL - 1] + "…"
