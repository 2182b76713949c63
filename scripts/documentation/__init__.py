"""The documentation: its sources put together from pages, notebooks, examples and registries, and built."""
