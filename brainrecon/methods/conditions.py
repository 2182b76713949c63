"""The conditions a two-stage reconstruction is scored under: the method itself and its controls."""

# In the order of tables and pictures. The text says what was done to get the pictures.
CONDITIONS = {
    "reconstruction": "the full method: decoded stage-one picture, redrawn under decoded image and text embeddings",
    "stage_one": "the picture decoded from predicted VDVAE latents, before any diffusion",
    "oracle_embeddings": "the true features of the shown picture in place of decoded ones: the ceiling of the generator",
    "shuffled_responses": "the responses to another test stimulus: what the method draws without information",
    "without_stage_one": "diffusion from pure noise, under both decoded embeddings",
    "without_image_context": "decoded stage-one picture and text embedding only",
    "without_text_context": "decoded stage-one picture and image embedding only",
    "nearest_training_picture": "the training picture whose image embedding correlates best with the decoded one",
}
METHOD_ITSELF = "reconstruction"
DIFFUSED = tuple(name for name in CONDITIONS if name not in ("stage_one", "nearest_training_picture"))
CONTROLS = tuple(name for name in CONDITIONS if name not in (METHOD_ITSELF, "stage_one"))
