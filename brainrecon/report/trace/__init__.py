"""The page of one traced stimulus: every value on its way."""
