"""What providers ask for tokens, where the environment does not say; prices change, so a date stands beside them.

Left out: discounts for cached or batched tokens and surcharges for long prompts, so that a bill may differ.
"""

from collections.abc import Mapping
from typing import Final

PRICES_DATE: Final = "2026-11-23"
"""The day on which the table was copied from the price list within dspy 3.4.1, which is litellm 1.105.0's."""

USD_PER_MTOK: Final[Mapping[str, tuple[float, float]]] = {
    "anthropic/claude-haiku-4-5": (1.0, 5.0),
    "anthropic/claude-opus-4-8": (5.0, 25.0),
    "anthropic/claude-sonnet-4-6": (3.0, 15.0),
    "deepseek/deepseek-chat": (0.28, 0.42),
    "deepseek/deepseek-reasoner": (0.28, 0.42),
    "gemini/gemini-2.5-flash": (0.3, 2.5),
    "openai/gpt-5": (1.25, 10.0),
    "openai/gpt-5-mini": (0.25, 2.0),
    "openai/gpt-5.4": (2.5, 15.0),
    "openai/gpt-5.4-mini": (0.75, 4.5),
}
"""US dollars per million tokens of question and of answer, by the name that `dspy.LM` knows."""
