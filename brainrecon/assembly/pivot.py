"""The step from tokens of a picture to the embedding of a text, by a projector that was trained beside a decoder."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step

_ROWS_AT_A_TIME = 64


class Pivot(Step):
    """Bring decoded tokens to where texts are: pictures are the pivot between a brain and what is said of them.

    >>> from brainrecon.assembly.learn import Learn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Text:
    ...     shape, n_targets = (64,), 64
    >>> learned = Learn({}, decoder=None)
    >>> texts = TargetSource(Text, ())
    >>> step = Pivot(learned, lambda network: network.projector, "clip_image", "pivot_text", texts, like="clip_retrieval")
    >>> step.reads, step.gives
    (('clip_image',), ('pivot_text',))

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        Step before it.
    projector : callable
        ``projector(network)``: the module, of the network that it has trained, from tokens (n, n_tokens, width) to (n, n_values).
    reads : str
        Decoded tokens.
    gives : str
    source : brainrecon.assembly.targets.TargetSource
        Of the texts.
    like : str
        A value that the network gives, whose shape the tokens have.
    """

    def __init__(self, learned, projector, reads, gives, source, like):
        self._learned, self._projector, self._like = learned, projector, like
        self.reads, self.gives, self.targets = (reads,), (gives,), {gives: source}

    def run(self, items, values, *, seed=0):
        import torch

        (read,), (gives,) = self.reads, self.gives
        network, shape = self._learned.decoder.network, self._learned.decoder.gives[self._like]
        device, rows = next(network.parameters()).device, np.asarray(values[read], dtype=np.float32)
        found = []
        with torch.inference_mode():
            for first in range(0, len(rows), _ROWS_AT_A_TIME):
                tokens = torch.from_numpy(rows[first : first + _ROWS_AT_A_TIME]).to(device)
                projected = self._projector(network.network)(tokens.reshape(len(tokens), *shape))
                found.append(projected.cpu().numpy())
        return {gives: np.concatenate(found)}
