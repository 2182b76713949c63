"""Data as other repositories pack them."""
