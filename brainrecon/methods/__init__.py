"""A module per published system: which targets, decoder and generator, at the paper's settings."""
