"""The further experiments of a simulated subject: synthetic pictures that are seen, and targets that are seen and imagined.

The same brain answers as in the core's sessions. What is imagined evokes the response to the seen target, only weaker, and weaker
still in V1 to hV4 than in higher areas; a trial's noise is that of seeing, so that imagery is the noisier. A word evokes the mean
response to pictures of such a thing, in higher areas alone. How strong imagery is was set by hand, not fitted to anything
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainrecon.simulation.brain.anatomy import Anatomy
from brainrecon.simulation.brain.cortex import Cortex
from brainrecon.simulation.brain.filters import seen_image
from brainrecon.simulation.brain.noise import scan_session
from brainrecon.simulation.brain.surface import Surface
from brainrecon.simulation.files import further_files, nsd_files
from brainrecon.simulation.world.pictures import Picture
from brainrecon.simulation.world.synthetic_pictures import bars_and_crosses, draw_synthetic, middle_square

EXPERIMENTS = ("synthetic", "imagery")
EARLY = ("V1", "V2", "V3", "hV4")
IMAGINED = (0.25, 0.6)
"""Share of the response to a seen target that imagining it evokes, in `EARLY` areas and in higher ones."""
RUNS = ("visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1", "imgA_2", "imgB_2", "imgC_2")
CUES = {"A": "HRVLPE", "B": "WKBCDT", "C": "SZMYNF"}
WORDS = ("fish", "house", "flower", "car", "bird", "tree")
REPEATS = {"synthetic": 3, "imagery": 8}
"""How often a picture of synthetic is shown, and a target in each run of imagery."""
SYNTHETIC_RUNS = 8


def run_further(
    root: Path,
    experiment: str,
    subject: int,
    anatomy: Anatomy,
    cortex: Cortex,
    surface: Surface | None,
    shared: tuple[Sequence[Picture], Sequence[np.ndarray], np.ndarray],
    options: dict,
    generator: Callable[[str], np.random.Generator],
) -> None:
    """Show, or let imagine, what an experiment has, and write its files.

    Parameters
    ----------
    root : Path
        Root of the tree.
    experiment : {"synthetic", "imagery"}
    subject : int
        Counts from 1.
    anatomy : Anatomy
    cortex : Cortex
    surface : Surface or None
        The mesh to write betas on too.
    shared : (sequence of Picture, sequence of array, array of int)
        The core's test pictures as they are seen and as they are stored, and the 1-based numbers of the subject's pictures.
    options : dict
        Of the simulation: ``seed``, ``picture_size``, ``betas_format``.
    generator : callable (purpose) -> numpy.random.Generator
        Of this subject and experiment.
    """
    evoked = {"synthetic": _synthetic, "imagery": _imagery}[experiment](
        root, subject, cortex, shared, options, generator
    )
    betas = scan_session(anatomy, cortex, evoked, generator("session"), nsd_files.BETA_UNIT)
    further_files.write_betas(root, experiment, subject, betas, anatomy, options["betas_format"], surface)


def _synthetic(root, subject, cortex, shared, options, generator):
    size, seed = options["picture_size"], options["seed"]
    drawn, classes, n_shared = draw_synthetic(size, seed, subject)
    stored = further_files.linear(drawn)
    further_files.write_synthetic_pictures(root, subject, stored, n_shared)
    # All subjects see the pictures in one order.
    order_of_all = np.random.default_rng([seed, len(drawn)])
    order = order_of_all.permutation(np.tile(np.arange(len(drawn)), REPEATS["synthetic"]))
    further_files.write_synthetic_design(root, order, classes, SYNTHETIC_RUNS)
    seen = [_seen(middle_square(picture)) for picture in drawn]
    return cortex.respond(seen)[order]


def _imagery(root, subject, cortex, shared, options, generator):
    pictures, images, numbers = shared
    of_a = bars_and_crosses(options["picture_size"])
    n_photographs = min(len(pictures), len(CUES["B"]))
    ranks = np.argsort(np.argsort(numbers[: len(pictures)])) + 1
    of_b = {f"shared{ranks[k]:04d}_nsd{numbers[k]:05d}.png": (images[k], pictures[k]) for k in range(n_photographs)}
    targets = {
        "A": [*of_a],
        "B": [*of_b],
        "C": [word for word in WORDS],
    }
    further_files.write_targets(root, {set_: dict(zip(CUES[set_], names)) for set_, names in targets.items()})
    further_files.write_target_pictures(root, "A", of_a)
    further_files.write_target_pictures(root, "B", {name: image for name, (image, _) in of_b.items()})
    seen = {"A": cortex.respond([_seen(image) for image in of_a.values()])}
    seen["B"] = cortex.respond([picture for _, picture in of_b.values()])
    imagined = {set_: _imagined(cortex, responses) for set_, responses in seen.items()}
    seen["C"], imagined["C"] = _words(cortex)
    evoked = []
    for number, run in enumerate(RUNS, start=1):
        task, set_ = run[:3], run[3]
        draw = generator(run)
        order = draw.permutation(np.tile(np.arange(len(targets[set_])), REPEATS["imagery"]))
        shown = [CUES[set_][k] for k in order]
        cues = [
            cue if task != "vis" or draw.random() < 0.5 else CUES[set_][draw.integers(len(targets[set_]))]
            for cue in shown
        ]
        further_files.write_run(root, subject, run, number, shown, cues)
        responses = (seen if task == "vis" else imagined)[set_][order]
        # Of attention, the cue and then a stream of pictures that all look alike to this brain.
        evoked.append(responses if task != "att" else np.repeat(responses, 2, axis=0))
        if task == "att":
            evoked[-1][1::2] = seen[set_].mean(axis=0)
    return np.concatenate(evoked).astype(np.float32)


def _imagined(cortex, responses):
    share = np.where(np.isin(cortex.areas, EARLY), *IMAGINED).astype(np.float32)
    return share * responses


def _words(cortex):
    """Mean response to drawn pictures of each of `WORDS`, and what imagining it evokes, which early areas know nothing of."""
    seen = np.stack([cortex.mean_response(word) for word in WORDS])
    imagined = _imagined(cortex, seen)
    early = np.isin(cortex.areas, EARLY)
    imagined[:, early] = imagined[:, early].mean(axis=0)
    return seen, imagined


def _seen(image):
    """A picture without any thing in it, as the brain sees it."""
    return replace(_NOTHING, image=seen_image(image))


_NOTHING = Picture(
    np.zeros((1, 1, 3), np.uint8), ("a pattern",), "pattern", "pattern", "grey", "grey", -1, "middle", "synthetic"
)
