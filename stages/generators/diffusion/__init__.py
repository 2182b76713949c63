"""Latent diffusion models, image to image, under decoded contexts."""
