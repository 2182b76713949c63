"""A target of captions: the mean of what the captions of a stimulus are encoded to, unless a target says otherwise."""

import torch

from stages.targets.captions import kept_captions, mean_over_captions


class CaptionTarget:
    """What the targets for captions share.

    Each says in ``n_targets`` how many values a row has, and in ``_encode`` what a batch of captions, a list of str,
    becomes: a tensor (n_captions, ...) of as many values per row.

    Attributes
    ----------
    n_captions : int, optional
        How many of a stimulus' captions count, the first ones; all by default.
    caption : int, optional
        The one that counts, from 0, in place of several; of a stimulus with fewer captions the first ones count again.
    """

    takes = "captions"
    n_captions = None
    caption = None

    @torch.no_grad()
    def encode(self, items, batch_size=64):
        """Compute what each stimulus' captions become, their mean or what the target makes of them.

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

        def encode(captions):
            return self._encode(captions).flatten(1).cpu().numpy()

        if self.caption is not None:
            items = [
                [kept[self.caption % len(kept)]]
                for position, item in enumerate(items)
                if (kept := kept_captions(item, f"The captions of stimulus number {position}"))
            ]
        return self._put_together(items, encode, batch_size)

    def _put_together(self, items, encode, batch_size):
        """Values (n, n_targets) of captions; ``encode(captions) -> array`` of a row each."""
        return mean_over_captions(items, encode, self.n_targets, batch_size, self.n_captions)
