"""The Metadata API beneath its two protocols: packages, components, deployments."""
