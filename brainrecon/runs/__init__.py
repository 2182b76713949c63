"""The run folder: what was asked, what is done, what is missing."""
