"""What `scripts/torture_files.py` is made of: ways to damage a file, files to damage, and what came of it."""
