"""Data as most laboratories have them: a few figures, each shown several times, as one file of arrays."""

import numpy as np

import brainrecon
from brainrecon.simulation import simulate_miyawaki


def write_few_figures(path, figures=10, repeats=8, voxels=800, seed=0):
    """Write a simulated recording of figures of 10 x 10 checkers as arrays; the last fifth of the figures are the test split.

    >>> write_few_figures("few.npz", figures=5, repeats=2, voxels=60).split(":")[0]
    'arrays'

    Returns ``arrays:PATH``. ``python tests/support/few_figures.py few.npz`` makes ten figures of 8 trials and 800 voxels.
    """
    study = path.parent / f".{path.stem}-study" if hasattr(path, "parent") else f".{path}-study"
    simulate_miyawaki(study, voxels=voxels, random_patterns=2, figures=figures, repeats=repeats, seed=seed)
    shown = brainrecon.load(f"miyawaki:{study}", roi="V1+V2").test
    tested = shown.stimulus_ids[-max(figures // 5, 1) :]
    np.savez(
        path,
        betas=np.asarray(shown.betas[:]),
        stimulus_ids=shown.trial_stimulus_ids,
        runs=shown.runs,
        split=np.where(np.isin(shown.trial_stimulus_ids, tested), "test", "train"),
        images=np.asarray(shown.images[:]),
        image_ids=shown.stimulus_ids,
    )
    return f"arrays:{path}"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    print(write_few_figures(Path(sys.argv[1])))
