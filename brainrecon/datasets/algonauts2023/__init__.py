"""NSD as the Algonauts challenge of 2023 packed it."""
