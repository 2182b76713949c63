"""Responses of eight studies on one surface, as MOSAIC publishes them."""
