"""PeerSpot: what only this system needs."""
