"""The leaderboard service: submit a design, have it evaluated, see its row. Nothing here yet.

The service (HTTP API, queue, pages) comes in a later release. This package holds its place and its import name, so
that nothing else takes them; it has no code, and no command of this release talks to a server.
"""
