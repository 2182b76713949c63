"""The step from values that the brain gives to likely ones, by a diffusion prior that was trained with them."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.item_seeds import named_generator

_ROWS_AT_A_TIME = 16


class Refine(Step):
    """Sample a prior, led by a predicted value.

    >>> from brainrecon.assembly.learn import Learn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> tokens = TargetSource(Tokens, checkpoints=())
    >>> learned = Learn({"decoded": tokens}, decoder=None)
    >>> step = Refine(learned, lambda network: network.prior, "decoded", "likely", tokens, n_evaluations=20)
    >>> step.reads, step.gives, step.by_lot
    (('decoded',), ('likely',), True)

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        Step before it.
    prior : callable
        ``prior(network) -> DiffusionPrior`` (`stages.priors.diffusion`) of the network that it has trained.
    reads : str
        The value that leads.
    gives : str
    source : brainrecon.assembly.targets.TargetSource
        The target that the prior's samples are embeddings of.
    n_evaluations : int, optional
        Of the prior's network; see `stages.priors.noise_process.NoiseProcess.sample`.
    unit_token : bool
        Bring the first token of each sample to unit length, and the others with it.
    guidance : float
        See `stages.priors.diffusion.DiffusionPrior.sample`.
    """

    by_lot = True

    def __init__(self, learned, prior, reads, gives, source, n_evaluations=None, unit_token=True, guidance=1.0):
        self._learned, self._prior = learned, prior
        self.reads, self.gives, self.targets = (reads,), (gives,), {gives: source}
        self._n_evaluations, self._unit_token, self._guidance = n_evaluations, unit_token, guidance

    def run(self, items, values, *, seed=0):
        import torch

        (read,), (gives,) = self.reads, self.gives
        decoder, rows = self._learned.decoder, np.asarray(values[read], dtype=np.float32)
        prior, device = self._prior(decoder.network.network), next(decoder.network.parameters()).device
        found = np.empty_like(rows)
        for first in range(0, len(rows), _ROWS_AT_A_TIME):
            chosen = slice(first, first + _ROWS_AT_A_TIME)
            # Another stream than that of a sample's noise in stage two.
            generators = [named_generator(f"{seed}/{one.stimulus_id}/{one.sample}/{gives}") for one in items[chosen]]
            led = torch.from_numpy(rows[chosen]).reshape(-1, *decoder.gives[read]).to(device)
            tokens = prior.sample(led, generators, self._n_evaluations, self._guidance)
            if self._unit_token:
                tokens = tokens / (tokens[:, :1].norm(dim=-1, keepdim=True) + 1e-6)
            found[chosen] = tokens.flatten(1).cpu().numpy()
        return {gives: found}

    def told(self, present):
        told = {"prior evaluations": self._n_evaluations or "every step"}
        return told if self._guidance == 1 else told | {"prior guidance": self._guidance}
