"""The user's own data: arrays in a file, a folder of arrays, BIDS derivatives."""
