"""Names of the evaluation network's layers, which settings can be checked against without loading a network."""

LAYERS = ("maps1", "maps2", "maps3", "features")
"""Maps behind each halving, behind their rectifier; and the features, before theirs."""
PREFIX = "evaluation_"
"""What names of their values begin with."""
