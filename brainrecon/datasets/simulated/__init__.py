"""A simulated cohort in NSD's own files and folders."""
