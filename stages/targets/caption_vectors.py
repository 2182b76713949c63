"""Several captions of a stimulus, each as one vector of a CLIP model: for a training that takes one of them at random."""

import torch

from stages.ground.checks import Number, check
from stages.targets.captions import kept_captions
from stages.targets.open_clip_target import OpenCLIPTarget


class CLIPCaptionVectors(OpenCLIPTarget):
    """The pooled, projected embeddings of a stimulus' captions, of their own lengths, one behind the other.

    >>> from weights import store
    >>> target = CLIPCaptionVectors.from_pretrained(store.path("tiny-clip"), n_captions=2)
    >>> target.encode([["a red circle", "a round thing"], ["a blue square"]]).shape, target.shape
    ((2, 128), (2, 64))

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `stages.targets.open_clip_target.OpenCLIPTarget`.
    n_captions : int
        How many of each stimulus, the first ones that are not blank. A stimulus with fewer has them again, in their order.
    """

    name, takes = "clip_caption_vectors", "captions"

    def __init__(self, model, preprocess, tokenizer, n_captions=5):
        super().__init__(model, preprocess, tokenizer)
        self.n_captions = check("n_captions", n_captions, Number(1, whole=True, example=5))

    @property
    def shape(self):
        """Captions and values of each."""
        return (self.n_captions, self.embed_dim)

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {
            "vectors": "pooled, projected, of their own lengths",
            "captions": f"the first {self.n_captions} that are not empty, again from the first if there are fewer",
        }

    @torch.no_grad()
    def encode(self, items, batch_size=64):
        """Encode each stimulus' captions.

        Parameters
        ----------
        items : sequence of length n of sequences of str
            Captions per stimulus; blank ones do not count. Longer ones than the context are cut.
        batch_size : int
            Captions per batch; changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            The last axis of ``shape`` is the fastest.

        Raises
        ------
        InputError
            A stimulus has no caption, or a string in place of a list of strings.
        """
        kept = [kept_captions(item, f"The captions of stimulus number {place}") for place, item in enumerate(items)]
        captions = [own[number % len(own)] for own in kept for number in range(self.n_captions)]
        parts = [torch.empty(0, self.embed_dim)]
        for start in range(0, len(captions), batch_size):
            pooled, _ = self._text_tokens(captions[start : start + batch_size])
            parts.append(pooled.float().cpu())
        return torch.cat(parts).reshape(len(kept), self.n_targets).numpy()
