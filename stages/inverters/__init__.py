"""Search for the latents that a generator would have made a picture from."""
