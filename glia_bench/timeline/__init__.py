"""Timelines of one run, for people who want to see why: a trace for Perfetto and Chrome, a figure, a page.

Everything is read from a `Case` and its `RunResult`; nothing is simulated again. `write_timelines` writes both files.
"""

from glia_bench.timeline.chrome_trace import chrome_trace, write_chrome_trace
from glia_bench.timeline.figure import timeline_figure
from glia_bench.timeline.page import timeline_page, write_timelines

__all__ = ["chrome_trace", "timeline_figure", "timeline_page", "write_chrome_trace", "write_timelines"]
