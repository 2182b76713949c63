"""From decoded values to captions."""
