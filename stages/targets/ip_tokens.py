"""The tokens that an IP-Adapter-Plus makes of a picture: what Stable Diffusion reads beside its text.

Han and others (2024, MindFormer) predict them, 16 x 768, from brain activity. Ye and others (2023) have trained them: the states
of OpenCLIP ViT-H/14 before its last block, 257 x 1280, go through the adapter's resampler, which is frozen here.
"""

from stages.ground.errors import InputError
from stages.networks.ip_resampler import hidden_states, load_resampler
from stages.targets.open_clip_target import OpenCLIPImageTarget


class IPTokens(OpenCLIPImageTarget):
    """Resampled tokens of a picture, ``shape`` (n_tokens, width): (16, 768) of ip-adapter-plus_sd15.

    >>> import numpy as np
    >>> from weights import store
    >>> target = IPTokens.from_pretrained(store.path("tiny-clip"), adapter=store.path("tiny-ip-adapter-plus"))
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape, target.shape
    ((2, 2048), (16, 128))

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `stages.targets.open_clip_target.OpenCLIPTarget`.
    resampler : diffusers.models.embeddings.IPAdapterPlusImageProjection

    Raises
    ------
    InputError
        The resampler reads states of another width than the model gives.
    """

    name = "ip_tokens"

    def __init__(self, model, preprocess, tokenizer, resampler):
        super().__init__(model, preprocess, tokenizer)
        self.resampler = resampler
        given, read = model.visual.conv1.out_channels, resampler.proj_in.in_features
        if given != read:
            raise InputError(
                f"The adapter reads states of {read} values but the image encoder gives {given}; pass the encoder that it was "
                "trained with, for ip-adapter-plus_sd15 OpenCLIP ViT-H/14."
            )

    @classmethod
    def from_pretrained(cls, folder, device="cpu", *, adapter):
        """Load an open_clip model's folder and the resampler of an adapter, in float32.

        Parameters
        ----------
        folder, device
            As `OpenCLIPTarget.from_pretrained` takes them.
        adapter : path
            File or folder of an IP-Adapter-Plus, see `stages.checkpoints.ip_adapter_file.read_ip_adapter`.

        Raises
        ------
        CheckpointError
            A file is missing or damaged, or of another kind.
        """
        return super().from_pretrained(folder, device, resampler=load_resampler(adapter).to(device))

    @property
    def shape(self):
        """Tokens and values per token."""
        return (self.resampler.latents.shape[1], self.resampler.proj_out.out_features)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        tokens = "all states before the last block, resampled by an IP-Adapter-Plus"
        return self._image_preprocessing() | {"tokens": tokens}

    def _encode(self, images):
        return self.resampler(hidden_states(self.model.visual, self._prepared(images)))
