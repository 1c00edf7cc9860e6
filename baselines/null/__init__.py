"""Permanent rows that any design should beat; never the reference of a task."""
