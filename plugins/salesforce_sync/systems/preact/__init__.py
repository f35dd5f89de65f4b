"""What only Preact needs, and the other places that scores may live in."""
