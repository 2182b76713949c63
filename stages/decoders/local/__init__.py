"""Local image decoders: a model per image element, their sum the picture."""
