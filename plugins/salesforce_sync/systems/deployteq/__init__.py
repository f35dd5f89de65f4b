"""Deployteq: what only this system needs."""
