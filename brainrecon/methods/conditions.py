"""The conditions a two-stage reconstruction is scored under: the method itself and its controls."""

# In the order of tables and pictures. The text says what was done to get the pictures.
CONDITIONS = {
    "reconstruction": "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings",
    "stage_one": "the picture decoded from predicted VDVAE latents, before any diffusion",
    "oracle_embeddings": "the true features of the shown picture in place of decoded ones: the ceiling of the generator",
    "shuffled_responses": "the responses to another test stimulus: what the method draws without information",
    "mean_response": "the average training response in place of the measured one: what the method draws for everybody",
    "without_stage_one": "diffusion from pure noise, under both decoded embeddings",
    "without_image_context": "decoded stage-one picture and text embedding only",
    "without_text_context": "decoded stage-one picture and image embedding only",
    "nearest_training_picture": "the training picture whose image embedding correlates best with the decoded one",
    "ridge_to_pixels": "ridge from the same patterns straight to 64 x 64 pixels: no network and no prior at all",
}
METHOD_ITSELF = "reconstruction"
_UNDIFFUSED = ("stage_one", "nearest_training_picture", "ridge_to_pixels")
DIFFUSED = tuple(name for name in CONDITIONS if name not in _UNDIFFUSED)
# The controls that a benchmark draws: they say how much of a score was read from the responses. The others say which part
# of the method it comes from.
ESSENTIAL_CONTROLS = ("shuffled_responses", "mean_response", "oracle_embeddings", "nearest_training_picture")
CONTROLS = tuple(name for name in CONDITIONS if name not in (METHOD_ITSELF, "stage_one"))
