"""``brainrecon predict``: embeddings only, for the run's test patterns or for new ones."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options


def predict(
    run: options.RunFolder,
    out: Annotated[Path, typer.Option(help="safetensors file to write.", show_default=False)],
    betas: Annotated[
        Path | None,
        typer.Option(help=".npy file of patterns, (n_stimuli, n_voxels); the run's test patterns by default."),
    ] = None,
    features: options.Features = None,
) -> None:
    """Predict embeddings from brain activity: one array per target, a row per stimulus."""
    from brainrecon.cli.console import say
    from brainrecon.runs.fitting import read_patterns, write_embeddings
    from brainrecon.runs.folder import Run

    opened = Run(run, features)
    if betas is None:
        test = opened.subject.test
        patterns, names = test.patterns, test.stimulus_ids
    else:
        patterns = read_patterns(betas)
        names = [f"row{row:05d}" for row in range(len(patterns))]
    embeddings = opened.method.predict(patterns)
    write_embeddings(out, embeddings, names)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in embeddings.items())
    say(f"{out}: {shapes}")
