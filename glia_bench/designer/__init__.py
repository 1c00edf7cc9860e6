"""Designers: what turns a task and a budget into a design; nothing here is imported by the rest of the core."""
