"""NSD's further experiments, one session each, as splits to test beside the core's."""
