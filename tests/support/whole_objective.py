"""MindEye's whole objective on a small network: contrast of mixed samples, then of soft labels, and the error of the prior.

What is drawn for a sample follows from the sample, so that a batch in parts, or of several processes, can be held against the
whole one. Run as a program by several processes, it trains and writes curves and weights.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from stages.decoders.trained import TrainedDecoder, Training
from stages.networks.mindeye import MindEyeTokens
from stages.objectives.prior_error import PriorError
from stages.objectives.retrieval import MixedThenSoft
from stages.priors.diffusion import DiffusionPrior
from stages.training.recipe import OptimiserSpec, Recipe

SIZES = dict(hidden=16, n_blocks=1, projected=12, prior_depth=1, prior_heads=2, prior_head_width=8)
SHAPE = (3, 8)


class Certain(MindEyeTokens):
    """The network without dropout."""

    def __init__(self, n_voxels, gives):
        super().__init__(n_voxels, gives, **SIZES)
        for layer in self.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0


class DrawnBySample(DiffusionPrior):
    """Times, noise and what is left out of each sample by itself."""

    def loss(self, brain, clean):
        """The mean over samples, each with a generator of its own."""
        losses = []
        with torch.random.fork_rng():
            for own, true in zip(brain, clean):
                torch.manual_seed(int(1e6 * true.abs().sum().item()))
                losses.append(super().loss(own[None], true[None]))
        return torch.stack(losses).mean()


def trained(accumulate=1):
    """A decoder that has taken six steps, half of them on mixed samples."""
    random = np.random.default_rng(0)
    responses = random.standard_normal((24, 20), dtype=np.float32)
    tokens = random.standard_normal((24, *SHAPE), dtype=np.float32)
    recipe = Recipe(
        steps=6, batch_size=12, accumulate=accumulate, optimiser=OptimiserSpec("sgd", 1e-3), validate_every=1
    )
    contrast = MixedThenSoft("clip_retrieval", n_epochs=2, steps_per_epoch=3, mixed_share=0.5, own_partner="rest")

    def objectives(network):
        return [contrast, PriorError("clip_rough", DrawnBySample(network.net))]

    features = {"clip_rough": tokens, "clip_retrieval": tokens}
    training = Training({"subj01": responses}, {"subj01": np.arange(24)}, features, "stimuli")
    return TrainedDecoder(Certain, recipe, objectives).fit(training)


def found(decoder):
    """Curves and weights as plain data."""
    weights = torch.cat([value.flatten() for value in decoder.network.state_dict().values()]).tolist()
    return {"lines": decoder._curves.lines, "weights": weights}


def main():
    """Train, in so many parts as are asked for; the first process writes what was found."""
    from accelerate import PartialState

    torch.set_num_threads(1)
    decoder = trained(int(sys.argv[2]))
    if PartialState().is_main_process:
        Path(sys.argv[1]).write_text(json.dumps({"processes": PartialState().num_processes} | found(decoder)))


if __name__ == "__main__":
    main()
