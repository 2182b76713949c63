"""The recipes of the embedded networks: one module per network, run by ``scripts/train_tiny.py``."""
