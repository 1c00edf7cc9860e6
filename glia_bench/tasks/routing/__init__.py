"""Routing tasks, one file each; `paper` holds what the tasks of the Glia paper share."""
