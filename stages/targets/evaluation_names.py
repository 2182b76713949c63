"""Names of the evaluation network's layers, which settings can be checked against without loading a network."""

LAYERS = ("maps1", "maps2", "maps3", "maps4", "maps5", "maps6", "features", "category")
"""Maps behind each of the six parts of its trunk, behind their rectifier; its features, before theirs; and what its head makes
of them for the kind of thing."""
PREFIX = "evaluation_"
"""What names of their values begin with."""
