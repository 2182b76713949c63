"""What brings one subject to what was learned from others."""
