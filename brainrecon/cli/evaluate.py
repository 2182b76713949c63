"""``brainrecon evaluate``: score what a run has drawn, and the controls that are asked for; or what was made elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options
from stages.ground.errors import InputError


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run folder.", show_default="pictures of --images")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a run: a folder of pictures, each named by its stimulus id, or one array of them, .npy or .pt.",
            metavar="PATH",
            show_default="the run's pictures",
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a run: a file of captions, .json, .csv, .tsv or .txt, by stimulus id or in the test set's order.",
            metavar="FILE",
            show_default="the run's captions",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="With --images: how the files are called, as {id}_recon.png, {row:04d}.png (rows of the test set from 0), "
            "{number}.png (from 1), {id}/{sample}.png.",
            metavar="PATTERN",
            show_default="{id}, or as a run calls them",
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="With --images or --captions: a text file with the stimulus id of each row, one a line.",
            metavar="FILE",
            show_default="the order of the test set",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="With --images or --captions: the data they were made from, KIND:PATH.",
            show_default="those of the run",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --images or --captions: a folder for the scores; BENCHMARK/METHOD/SUBJECT/ROI puts them into that table.",
            show_default="that of the run",
        ),
    ] = None,
    subject: options.SubjectName = None,
    roi: options.Roi = None,
    loader: options.LoaderOptions = None,
    mask: options.Mask = None,
    folds: options.Folds = None,
    split: options.Split = None,
    beside: options.Beside = None,
    controls: options.controls("none") = None,
    control_stimuli: options.control_stimuli() = None,
    protocol: options.Protocol = None,
    batch_size: options.BatchSize = None,
    features: options.Features = None,
    device: options.Device = "auto",
    again: Annotated[
        bool, typer.Option("--again", help="Score a run again whose scores are there, of the same pictures and judges.")
    ] = False,
) -> None:
    """Score reconstructions and controls against the shown pictures, per stimulus, with 95 % intervals."""
    if [run, images, captions].count(None) != 2:
        raise InputError(
            "Evaluate takes a run folder, or pictures with --images, or captions with --captions; type `brainrecon evaluate "
            "RUN`, or `brainrecon evaluate --images DIR --truth KIND:PATH --out DIR`."
        )
    if run is not None:
        if truth or out or subject or roi or loader or mask or folds or split or pattern or ids:
            raise InputError(
                "--truth, --out, --subject, --roi, --mask, --folds, --split, --option, --pattern and --ids go with --images or "
                "--captions; leave them out for a run."
            )
        _evaluate_run(
            run,
            beside,
            controls,
            control_stimuli,
            protocol,
            batch_size,
            features,
            option_values.torch_device(device),
            again,
        )
        return
    given, what = ("--images", "Pictures") if captions is None else ("--captions", "Captions")
    if truth is None or out is None:
        raise InputError(
            f"{what} need the data they are of, and a place for scores: add --truth KIND:PATH and --out DIR to "
            f"{given} {images or captions}."
        )
    if beside:
        raise InputError(
            f"--beside goes with a run; with {given}, name the one split that they are of: --split imagery."
        )
    if again:
        raise InputError(f"{what} from elsewhere are scored anew each time; leave --again out with {given}.")
    if controls or control_stimuli:
        raise InputError(f"Controls are drawn by a run; leave --controls and --control-stimuli out with {given}.")
    if captions is not None:
        if pattern or folds:
            raise InputError("--pattern and --folds go with --images; leave them out with --captions.")
        which = dict(subject=subject, roi=roi, **option_values.loader_options(loader, mask))
        _evaluate_captions(
            captions, ids, truth, out, which, option_values.parse_split(split), protocol, features, device
        )
        return
    named, device = {"pattern": pattern, "row_ids": ids}, option_values.torch_device(device)
    if folds and split:
        raise InputError(f"Both folds ({folds}) and split ({split!r}) are given; leave one out.")
    parts, split = option_values.parse_folds(folds), option_values.parse_split(split)
    which = dict(subject=subject, roi=roi, **option_values.loader_options(loader, mask))
    _evaluate_pictures(images, named, truth, out, which, parts, split, protocol, features, device)


def _evaluate_run(run, beside, controls, control_stimuli, protocol, batch_size, features, device, again):
    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.score_tables import show_splits
    from brainrecon.runs.run import Run
    from brainrecon.runs.score import score_splits

    conditions = option_values.parse_conditions(controls)
    opened = Run(run, features, device)
    if beside is not None:
        opened = Run.create(run, option_values.with_beside(opened.config, beside), features, device)
        conditions = (RECONSTRUCTION, *conditions)
    with show_progress() as progress:
        if beside is not None:
            opened.fit(progress)
        if conditions:
            opened.reconstruct(conditions, control_stimuli=control_stimuli, batch_size=batch_size, progress=progress)
        splits = score_splits(opened, protocol, again, progress)
    show_splits(splits)


def _evaluate_pictures(images, named, truth, out, which, folds, split, protocol, features, device):
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.score_tables import show_scores
    from brainrecon.datasets import load
    from brainrecon.features.store import FeatureStore
    from brainrecon.runs.config import check_folds
    from brainrecon.runs.pictures_elsewhere import read_row_ids
    from brainrecon.runs.record import in_split, load_in_folds
    from brainrecon.runs.score_elsewhere import evaluate_pictures

    if named["row_ids"] is not None:
        named = named | {"row_ids": read_row_ids(named["row_ids"])}
    check_folds(folds or 0)
    data = load_in_folds(truth, folds, **which) if folds else load(truth, **which)
    if split:
        data = in_split(data, split, store=FeatureStore(features), device=device)
    with show_progress() as progress:
        scores = evaluate_pictures(
            images, data, out, protocol, **named, features=features, device=device, progress=progress
        )
    show_scores(scores)


def _evaluate_captions(captions, ids, truth, out, which, split, protocol, features, device):
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.score_tables import show_scores
    from brainrecon.datasets import load
    from brainrecon.features.store import FeatureStore
    from brainrecon.runs.pictures_elsewhere import read_row_ids
    from brainrecon.runs.record import in_split
    from brainrecon.runs.score_elsewhere import evaluate_captions

    rows, data = None if ids is None else read_row_ids(ids), load(truth, **which)
    if split:
        data = in_split(data, split, store=FeatureStore(features), device=option_values.torch_device(device))
    with show_progress() as progress:
        scores = evaluate_captions(captions, data, out, protocol, row_ids=rows, progress=progress)
    show_scores(scores)
