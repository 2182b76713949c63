"""Data of the Kamitani laboratory in BData files: generic object decoding, deep image reconstruction."""
