"""``brainrecon predict``: embeddings only, for the run's test patterns or for new ones."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options
from stages.ground.errors import InputError


def predict(
    run: options.RunFolder,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write: .safetensors, .npz, .npy (one target) or .csv.")
    ],
    betas: options.NewPatterns = None,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Predict embeddings from brain activity: one array per target, a row per stimulus; interrupted, it goes on."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.pattern_files import read_patterns
    from brainrecon.runs.predict import predict_patterns
    from brainrecon.runs.run import Run
    from brainrecon.runs.values import write_predicted

    opened = Run(run, features, option_values.torch_device(device))
    if not opened.chain.predicts:
        raise InputError(
            f"{opened.config.method} predicts no embeddings, only its {opened.chain.output}; type `brainrecon reconstruct {run}`."
        )
    with show_progress() as progress:
        if betas is None and opened.chain.averages_outputs:
            shapes = write_predicted(opened, out, progress)
        else:
            test = opened.subject.test if betas is None else None
            patterns, names = read_patterns(betas) if test is None else (test.patterns, test.stimulus_ids)
            shapes = predict_patterns(opened.chain, patterns, names, out, progress)
    say(f"{out}: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")
