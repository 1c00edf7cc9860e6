"""Oracles, which know what no design may: true output lengths, true caches, future arrivals. Never ranked.

They are strong references rather than proven limits: a ranked design may beat one.
"""
