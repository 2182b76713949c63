"""``brainrecon features``: encode the stimuli of a dataset into the feature store ahead of a fit."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def features(
    data: Annotated[str, typer.Argument(metavar="DATA", help="KIND:PATH, for example nsd:/data/nsd.")],
    targets: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Targets, separated by commas.", show_default="all of the method"),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="The method whose targets and checkpoints are meant.")
    ] = "brain-diffuser",
    weights: options.Weights = None,
    subject: options.SubjectName = None,
    assignments: options.Assignments = None,
    store: options.Features = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Also write them into files, one a split, as NAME-train.npz: .safetensors, .npz, .npy (one target), .csv.",
            metavar="NAME.npz",
            show_default="the feature store alone",
        ),
    ] = None,
    device: options.Device = "auto",
    cluster: options.ClusterFile = None,
) -> None:
    """Encode stimuli into the store; what is there is left alone, an interrupted encoding goes on."""
    from brainrecon.assembly.chain import Chain
    from brainrecon.assembly.targets import check_targets, encode
    from brainrecon.assembly.values import Machine
    from brainrecon.cli.console import say
    from brainrecon.cli.on_cluster import refuse_failures, show_outcomes
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.features.store import FeatureStore
    from brainrecon.runs.array_files import check_suffix, write_arrays
    from brainrecon.runs.estimate import of_encoding
    from brainrecon.studies.cluster import Cluster

    engine = None if cluster is None else Cluster.read(cluster)
    config = option_values.run_config(method, data, None, assignments, subject=subject, weights=weights)
    # On a cluster a device is chosen where it is; here, the head arranges what comes.
    chain = Chain(config.system, Machine("cpu" if engine else option_values.torch_device(device)))
    loaded, kept = load(config.data.source, subject=subject), FeatureStore(store)
    names = option_values.parse_names(targets) or tuple(chain.targets)
    check_targets(names, chain.learned_targets)
    if export is not None:
        check_suffix(export, names)
    if engine is None:
        for line in of_encoding(chain.learned_targets, names, loaded, list(loaded.splits), chain.machine.device):
            say(line)
    with show_progress() as progress:
        outcomes = _encode_on(engine, config, chain, names, loaded, kept, device, progress) if engine else []
        undone = {tuple(one.cell.arguments["of"]) for one in outcomes if not one.is_done}
        for split_name in loaded.splits:
            whole = [name for name in names if (split_name, name) not in undone]
            tables = encode(chain.learned_targets, whole, loaded, split_name, kept, progress=progress)
            for name, table in tables.items():
                say(f"{split_name} {name}: {table.shape[0]:,} x {table.shape[1]:,} in {table.folder}")
            if export is not None and len(whole) == len(names):
                file = export.with_name(f"{export.stem}-{split_name}{export.suffix}")
                write_arrays(file, tables, loaded.splits[split_name].stimulus_ids)
                say(f"{split_name}: {file}")
    show_outcomes(outcomes)
    refuse_failures(outcomes)


def encode_block(config, of, rows, store, device):
    """Encode a block of a split's stimuli by one target, in a worker of a cluster.

    Parameters
    ----------
    config : dict
        As of a run.
    of : (str, str)
        Split and target.
    rows : (start, stop)
    store, device : str

    Returns
    -------
    dict
        `files`, those of the batches.
    """
    from brainrecon.assembly.chain import Chain
    from brainrecon.assembly.targets import encode
    from brainrecon.assembly.values import Machine
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.features.store import FeatureStore, batch_files
    from brainrecon.runs.config import RunConfig

    config, (split, name) = RunConfig.from_dict(config), of
    chain = Chain(config.system, Machine(option_values.torch_device(device)))
    loaded = load(config.data.source, subject=config.data.subject)
    with show_progress() as progress:
        tables = encode(
            chain.learned_targets, (name,), loaded, split, FeatureStore(store), rows=tuple(rows), progress=progress
        )
    return {"files": [str(file) for file in batch_files(tables[name], *rows)]}


def _encode_on(engine, config, chain, names, loaded, store, device, progress):
    """Have the workers of a cluster encode what is missing, block by block; their outcomes."""
    from brainrecon.assembly.targets import encode
    from brainrecon.cli.on_cluster import STATE, drained
    from brainrecon.features.store import missing_blocks
    from brainrecon.studies.draining import Cell

    cells = []
    common = {"config": config.to_dict(), "store": str(store.folder.absolute()), "device": device}
    for split in loaded.splits:
        # No row is asked for: what the tables are, and which batches are there.
        for name, table in encode(chain.learned_targets, names, loaded, split, store, rows=(0, 0)).items():
            # What is prepared once for all stimuli is prepared by one worker.
            whole = hasattr(chain.learned_targets[name].outline, "prepare")
            for rows in missing_blocks(table, engine.block_size):
                rows = (0, len(table)) if whole else rows
                given = common | {"of": (split, name), "rows": rows}
                cell = Cell(f"{name}/{split}/{rows[0]} to {rows[1]}", f"{__name__}:{encode_block.__name__}", given)
                cells += [cell] if cell not in cells else []
    with drained(engine, store.folder / STATE, progress) as drain:
        return drain(cells)
