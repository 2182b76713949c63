"""Faces that four people saw (VanRullen and Reddy 2019), OpenNeuro ds001761."""
