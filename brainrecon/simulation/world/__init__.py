"""The simulated world: the pictures that are shown, and their captions."""
