"""How a protocol looks at pictures: prepared, and through frozen networks."""
