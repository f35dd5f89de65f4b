"""Stand-ins for the vendors' APIs, one module each, served together by app.py under a path per vendor."""
