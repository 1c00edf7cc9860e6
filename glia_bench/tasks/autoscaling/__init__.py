"""Autoscaling tasks, one file each."""
