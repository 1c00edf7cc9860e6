"""Cluster tasks, in which a design may have the hooks of all tracks; one file each."""
