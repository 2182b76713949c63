"""What `scripts/torture.py` is made of: kinds of work, what they begin with, processes that are killed, and comparisons."""
