"""The simulator: a fast event-driven kernel and a slow, obvious reference of the same semantics.

Only `engine` and `reference` are called from outside; the semantics are written in docs/simulator.md.
"""
