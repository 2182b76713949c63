"""Several captions of a stimulus, each as one vector of a CLIP model: for a training that takes one of them at random."""

from stages.ground.checks import Number, check
from stages.targets.caption_target import CaptionTarget
from stages.targets.captions import kept_captions, mean_over_captions
from stages.targets.open_clip_target import OpenCLIPTarget


class CLIPCaptionVectors(CaptionTarget, OpenCLIPTarget):
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

    name = "clip_caption_vectors"

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

    def _encode(self, captions):
        pooled, _ = self._text_tokens(captions)
        return pooled.float()

    def _put_together(self, items, encode, batch_size):
        kept = [kept_captions(item, f"The captions of stimulus number {place}") for place, item in enumerate(items)]
        apart = [[own[number % len(own)]] for own in kept for number in range(self.n_captions)]
        return mean_over_captions(apart, encode, self.embed_dim, batch_size).reshape(len(kept), self.n_targets)
