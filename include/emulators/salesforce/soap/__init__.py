"""The SOAP side of the org: the partner and enterprise API as far as sign-in and Lead conversion, and the Metadata API."""
