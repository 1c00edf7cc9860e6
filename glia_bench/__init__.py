"""Glia-Bench: how good is a design for running an LLM-inference cluster, what did it cost, and can a person read it?

Importing this package compiles nothing and starts nothing; simulation, plots and tables are imported where used.
"""

from glia_bench.features import HOLD, REJECT

__version__ = "0.1.0"
__all__ = ["HOLD", "REJECT", "__version__"]
