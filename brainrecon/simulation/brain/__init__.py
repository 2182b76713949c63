"""The simulated brain: cortex, responses, noise."""
