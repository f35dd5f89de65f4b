"""Keeps Salesforce in step with the tools around it: hooks, operators and the code beneath them. docs/architecture.md draws the map."""

__version__ = "0.1.0"
