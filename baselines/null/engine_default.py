"""The engine's default: first come, first served by the rules of whatever engine the task has; no choice is made.

Source: the permanent zero row of this benchmark for scheduling: a scheduler that decides nothing.
Loses: wherever order, admission or the choice of victims matters; it says what the engine is worth by itself.
"""

SOURCE = "this benchmark: the row of a scheduler that makes no choice"
PREEMPTIVE = False  # as without it: a design needs a hook or a constant, and this one changes nothing
