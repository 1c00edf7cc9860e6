"""Scheduling tasks, one file each."""
