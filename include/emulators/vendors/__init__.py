"""Stand-ins for the vendors' APIs, one module each, which app.py finds and serves together under a path per vendor."""
