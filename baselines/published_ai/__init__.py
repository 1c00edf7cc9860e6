"""Designs that were found by AI systems and published; never the reference of a task."""
