"""The HTTP surface, a module per family of resources; each lists its routes in ROUTES."""
