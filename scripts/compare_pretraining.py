"""Compare decoders of a subject of whom there is little: of an encoder pretrained on others' responses, or from nothing.

    python scripts/compare_pretraining.py [KIND:PATH] [--new subj05] [--pairs 60,240] [--json FILE] [--folder FOLDER]

Without data it simulates a cohort of five in a temporary folder. A masked autoencoder (`brainrecon pretrain`) learns from the
responses of all subjects but the new one; nobody tells it which pictures were seen. The new subject has few pairs of responses
and pictures. Its decoder is the encoder, the mapper of MinD-Vis behind it (Chen et al., CVPR 2023) and CLIP's tokens as targets.
The encoder starts from nothing, from the others' responses, or from what was made of these and of all training responses of the
new subject without their pictures; it is trained with the mapper, or kept as it is under a ridge regression. A ridge regression
on voxels stands beside. The table gives two-way identification of tested stimuli, and the difference from the same decoder
without pretraining, each with the 95 % interval that resamples stimuli.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import brainrecon
from brainrecon.cli.progress import show_progress
from brainrecon.datasets.cohort import Cohort
from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.evaluation.metrics.identification import success_matrix
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pair_difference, bootstrap_pairs
from stages.decoders.masked_pretraining import MaskedPretraining, UnpairedResponses
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.trained import TrainedDecoder, Training
from stages.networks.masked_brain import BrainEncoder, load_brain_encoder
from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from weights.whole_files import write_text

TARGET = "clip_image"
SIZES = {"patch_size": 16, "width": 64, "depth": 4, "n_heads": 4, "mlp_ratio": 1.0}
DECODER = {"decoder_width": 32, "decoder_depth": 2, "decoder_heads": 4}
NOTHING, OTHERS, ALL = "nothing", "the others' responses", "the others' and its own responses"


class Decoder(nn.Module):
    """The encoder, and the mapper behind it: patches to tokens by two convolutions of one place, widths by a linear layer."""

    def __init__(self, n_voxels, gives, n_tokens):
        super().__init__()
        self.encoder = BrainEncoder(n_voxels, **SIZES)
        n, (size,) = self.encoder.n_patches, gives[TARGET]
        self.mapper = nn.Sequential(nn.Conv1d(n, n // 2, 1), nn.Conv1d(n // 2, n_tokens, 1))
        self.last = nn.Linear(self.encoder.width, size // n_tokens)

    def forward(self, patterns):
        """Tokens of patterns, as one row each."""
        return {TARGET: self.last(self.mapper(self.encoder.encode(patterns))).flatten(1)}


def pretrained(cohort, new, folder, epochs, progress):
    """Folders of the encoders, by what they learned from."""
    others = {name: subject.train.betas[:] for name, subject in cohort.items() if name != new}
    own = {new: cohort[new].train.betas[:]}
    found = {}
    # A second pretraining is short, as MinD-Vis' is.
    for name, responses, start in ((OTHERS, others, None), (ALL, own, OTHERS)):
        place = Path(folder) / name.replace("'", "").replace(" ", "_")
        if not (place / "config.json").exists():
            steps = max(epochs // (4 if start else 1), 1) * -(-sum(map(len, responses.values())) // 100)
            recipe = Recipe(
                steps,
                100,
                OptimiserSpec("adamw", 1e-3, 0.05, undecayed="vectors", betas=(0.9, 0.95)),
                Schedule("cosine after warm-up", warmup=steps // 10),
                clip=0.8,
                validation=0.05,
                validate_every=max(steps // 10, 1),
            )
            if start:
                recipe = replace(recipe, optimiser=replace(recipe.optimiser, learning_rate=3e-4))
            made = MaskedPretraining(recipe, SIZES | DECODER, start and found[start])
            made.fit(responses, folder=place, progress=progress).save_pretrained(place)
        print(name, MaskedPretraining.from_pretrained(place).summary(), flush=True)
        found[name] = place
    return found


def compare(cohort, new, n_pairs, targets, encoders, steps=400, rate=3e-4, seed=0):
    """Decode the tested stimuli of the new subject, learning from its first pairs, in all ways.

    Parameters
    ----------
    cohort : mapping of str to brainrecon.datasets.subject.Subject
    new : str
    n_pairs : int
        Stimuli.
    targets : dict of str to array of shape (n_stimuli, n_tokens, width)
        By split of the new subject.
    encoders : dict of str to path
        As `pretrained` gives them.
    steps, rate : int, float
        Of the training with the mapper.
    seed : int

    Returns
    -------
    dict of str to dict
    """
    subject, n_tokens = cohort[new], targets["train"].shape[1]
    learned = targets["train"][:n_pairs].reshape(n_pairs, -1)
    mean, sd = learned.mean(axis=0), learned.std(axis=0) + 1e-6
    known = {"train": (learned - mean) / sd, "test": (targets["test"].reshape(len(targets["test"]), -1) - mean) / sd}
    chosen = np.flatnonzero(subject.train.positions < n_pairs)
    trials, shown = subject.train.betas[chosen], subject.train.positions[chosen]
    tested, averaged = subject.test.patterns, subject.train.patterns[:n_pairs]
    found = {("ridge on voxels", ""): RidgeDecoder().fit(averaged, known["train"]).predict(tested)}
    for name in (NOTHING, OTHERS, ALL):
        encoder = _begun(subject.n_voxels, encoders.get(name), seed)
        codes = [_codes(encoder, one, trials) for one in (averaged, tested)]
        found["ridge on what it encodes", name] = RidgeDecoder().fit(codes[0], known["train"]).predict(codes[1])

        def begin(network, encoder=encoder, name=name):
            network.encoder.load_state_dict(encoder.state_dict())
            return name

        recipe = Recipe(
            steps,
            30,
            OptimiserSpec("adamw", rate, 0.05),
            Schedule("cosine", warmup=50),
            clip=1.0,
            average=0.99,
            validate_every=steps,
            seed=seed,
        )
        decoder = TrainedDecoder(
            Decoder, recipe, arguments={"n_tokens": n_tokens}, begin=begin, standardise="all voxels together"
        ).fit(Training({new: trials}, {new: shown}, {TARGET: known["train"]}))
        ((_, _, values),) = decoder.predict_blocks(tested)
        found["trained with its mapper", name] = values
    pairs = {way: success_matrix(correlation_matrix(known["test"], values)) for way, values in found.items()}
    return {
        " from ".join(filter(None, way)): _scores(pair, pairs.get((way[0], NOTHING)), seed)
        for way, pair in pairs.items()
    }


def _begun(n_voxels, folder, seed):
    if folder is not None:
        return load_brain_encoder(folder, n_voxels)
    torch.manual_seed(seed)
    return BrainEncoder(n_voxels, **SIZES).eval()


@torch.inference_mode()
def _codes(encoder, patterns, trials):
    """Tokens of patterns as rows: on the scale of single trials, as in pretraining."""
    rows = UnpairedResponses({"": trials}, SIZES["patch_size"])
    mean, scale = rows.scales[""]
    values = (np.asarray(patterns, np.float32) - np.float32(mean)) / np.float32(scale)
    return encoder.encode(torch.from_numpy(values)).flatten(1).numpy()


def _scores(pair, other, seed):
    score = bootstrap_pairs(*pair, seed=seed)
    found = {"score": score.mean, "half_width": (score.ci_high - score.ci_low) / 2}
    if other is not None and other is not pair:
        gain = bootstrap_pair_difference(pair, other, seed=seed)
        found |= {"gain": gain.mean, "gain_low": gain.ci_low, "gain_high": gain.ci_high}
    return found


def table(comparisons):
    """The comparisons in markdown, percentages."""
    lines = ["| pairs | decoder | two-way identification (%) | less from nothing, 95 % interval |", "|---|---|---|---|"]
    for n_pairs, ways in comparisons.items():
        for name, row in ways.items():
            difference = ""
            if "gain" in row:
                gain, low, high = (100 * row[key] for key in ("gain", "gain_low", "gain_high"))
                difference = f"{gain:+.1f} ({low:+.1f} to {high:+.1f})"
            lines.append(
                f"| {n_pairs} | {name} | {100 * row['score']:.1f} ± {100 * row['half_width']:.1f} | {difference} |"
            )
    return "\n".join(lines)


def main(arguments=None):
    """Compare on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="KIND:PATH; a simulated cohort if it is not given")
    parser.add_argument("--new", default="subj05")
    parser.add_argument("--pairs", default="60,240")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="of the training with the mapper")
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="of what is made on the way; a temporary one if it is not given")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary, show_progress() as progress:
        folder, data = options.folder or Path(temporary), options.data
        if data is None:
            brainrecon.simulate(
                folder / "nsd",
                subjects=5,
                sessions=10,
                trials_per_session=240,
                shared=120,
                voxels=800,
                seed=options.seed,
            )
            data = f"nsd:{folder / 'nsd'}"
        cohort = Cohort.load(data, tuple(f"subj0{number}" for number in range(1, 6)))
        encoders = pretrained(cohort, options.new, folder, options.epochs, progress)
        target = brainrecon.Reconstructor("brain-diffuser", weights="tiny", features=folder / "features")
        targets = {}
        for split in ("train", "test"):
            values = np.asarray(target.encode(cohort[options.new], split)[TARGET])
            targets[split] = values.reshape(len(values), *target.chain.learned_targets[TARGET].outline.shape)
        comparisons = {}
        for n in map(int, options.pairs.split(",")):
            comparisons[n] = compare(
                cohort, options.new, n, targets, encoders, options.steps, options.rate, options.seed
            )
            print(table({n: comparisons[n]}), flush=True)
    print(table(comparisons))
    if options.json:
        write_text(options.json, json.dumps(comparisons, indent=1) + "\n")


if __name__ == "__main__":
    main()
