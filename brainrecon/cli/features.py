"""``brainrecon features``: encode the stimuli of a dataset into the feature store ahead of a fit."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options


def features(
    data: Annotated[str, typer.Argument(help="KIND:PATH, for example nsd:/data/nsd.", show_default=False)],
    targets: Annotated[
        str | None, typer.Option(help="Targets, separated by commas; all of the method by default.")
    ] = None,
    method: Annotated[str, typer.Option(help="The method whose targets and checkpoints are meant.")] = "brain-diffuser",
    weights: options.Weights = None,
    subject: options.SubjectName = None,
    assignments: options.Assignments = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of the feature store; $BRAINRECON_FEATURES or the user's cache by default."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Also write them into files, one a split, as NAME-train.npz: .safetensors, .npz, .npy (one target), .csv.",
            metavar="NAME.npz",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Encode stimuli into the store; what is there is left alone, an interrupted encoding goes on."""
    from brainrecon.assembly.chain import Chain
    from brainrecon.assembly.targets import check_targets, encode
    from brainrecon.assembly.values import Machine
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.features.store import FeatureStore
    from brainrecon.runs.array_files import check_suffix, write_arrays
    from brainrecon.runs.estimate import of_encoding

    config = options.run_config(method, data, None, assignments, subject=subject, weights=weights)
    chain, loaded = (
        Chain(config.system, Machine(options.torch_device(device))),
        load(config.data.source, subject=subject),
    )
    names = options.parse_names(targets) or tuple(chain.targets)
    check_targets(names, chain.learned_targets)
    if export is not None:
        check_suffix(export, names)
    for line in of_encoding(chain.learned_targets, names, loaded, list(loaded.splits), chain.machine.device):
        say(line)
    with show_progress() as progress:
        for split_name in loaded.splits:
            tables = encode(chain.learned_targets, names, loaded, split_name, FeatureStore(store), progress=progress)
            for name, table in tables.items():
                say(f"{split_name} {name}: {table.shape[0]:,} x {table.shape[1]:,} in {table.folder}")
            if export is not None:
                file = export.with_name(f"{export.stem}-{split_name}{export.suffix}")
                write_arrays(file, tables, loaded.splits[split_name].stimulus_ids)
                say(f"{split_name}: {file}")
