"""The conditions a reconstruction is scored under: the method itself, its parts, and its controls."""

# In the order of tables and pictures. The text says what was done to get the pictures.
CONDITIONS = {
    "reconstruction": "the method itself",
    "stage_one": "the picture decoded from predicted VDVAE latents, before any diffusion",
    "binarised": "the reconstruction with what is above mid-grey white and the rest black",
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
_PARTS = ("stage_one", "binarised")
# What is drawn of every sample; of the others one picture per stimulus is.
SAMPLED = (METHOD_ITSELF, "binarised")
# Pictures of these are made for many stimuli at once, from what the training split holds.
DRAWN_TOGETHER = ("nearest_training_picture", "ridge_to_pixels")
DIFFUSED = tuple(name for name in CONDITIONS if name not in (*_PARTS, *DRAWN_TOGETHER))
# The controls that a benchmark draws: they say how much of a score was read from the responses. The others say which part
# of the method it comes from.
ESSENTIAL_CONTROLS = ("shuffled_responses", "mean_response", "oracle_embeddings", "nearest_training_picture")
CONTROLS = tuple(name for name in CONDITIONS if name not in (METHOD_ITSELF, *_PARTS))
