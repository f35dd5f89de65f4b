"""What the sync remembers, in a database of its own (SQLite or PostgreSQL): runs, log, links, watermarks, dead letters.

A module per table, each a few functions that take the caller's connection: the caller owns the transaction.
"""
