"""``brainrecon benchmark``: methods, subjects and regions in one table; a plan that any number of processes work through."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options


def benchmark(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the benchmark, to make or to continue.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="KIND:PATH, for example nsd:/data/nsd.", show_default="the data of the plan in --out"
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names, or TOML files of settings, separated by commas; a file's method is called like the file.",
            show_default="those of the plan in --out",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A comparison: miyawaki-study and gan-ablation have methods of their own; few-hours compares --methods by the "
            "number of sessions that they learn from.",
            show_default="none",
        ),
    ] = None,
    weights: options.Weights = None,
    subjects: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Subjects to test, separated by commas.", show_default="all that are there"),
    ] = None,
    others: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Subjects that methods of several learn from before each tested one, separated by commas; all, or none.",
            show_default="all that are there",
        ),
    ] = None,
    sessions: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="With --preset few-hours: how many first sessions of a tested subject are learned from, for example 1,2,4.",
            show_default="those of 1,2,4,10,20,40 that it has",
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS",
            help="The same in hours of scanning, of data that say how long a session is.",
            show_default="as --sessions",
        ),
    ] = None,
    rois: Annotated[
        str | None,
        typer.Option(
            metavar="REGIONS", help="Voxels to use, separated by commas.", show_default="the dataset's own choice"
        ),
    ] = None,
    protocols: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Named ways to score, separated by commas.",
            show_default="that of the first method whose published networks draw photographs, else brainrecon-1",
        ),
    ] = None,
    controls: options.controls("essential") = None,
    control_stimuli: options.control_stimuli() = None,
    heldout: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Split that holds out look-alikes: clusters:N, category:NAME, or none.",
            show_default="clusters:20 of 200 stimuli or more, else none",
        ),
    ] = None,
    folds: options.Folds = None,
    split: options.Split = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    loader: options.LoaderOptions = None,
    mask: options.Mask = None,
    batch_size: options.BatchSize = None,
    reproducible: options.Reproducible = False,
    features: options.Features = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    cluster: options.ClusterFile = None,
    plan_only: options.Plan = False,
) -> None:
    """Run every method on every subject and region, score it beside its controls, and write the leaderboard.

    What is finished is left alone: stop it at any time and type the same line again, or `--out` alone; start it several
    times at once, and the processes share the work. More methods, subjects, regions or protocols are added to the plan; what
    the line leaves out stays as the plan has it.
    """
    from brainrecon.cli.benchmark_plan import planned_benchmark
    from brainrecon.cli.boards import show_boards
    from brainrecon.cli.console import say
    from brainrecon.cli.on_cluster import refuse_failures, show_outcomes
    from brainrecon.cli.progress import show_progress
    from brainrecon.evaluation.judges import check_judges
    from brainrecon.evaluation.protocols.protocol import load_protocol
    from brainrecon.report.leaderboard.collect import collect
    from brainrecon.report.leaderboard.write import write_leaderboard, write_pages
    from brainrecon.runs.beginning import undone_if_it_fails
    from brainrecon.studies.benchmark import work_through
    from brainrecon.studies.cluster import Cluster
    from stages.ground.process_group import leave

    others = option_values.parse_names(others)
    asked = dict(
        cohort=None if others in (None, ["all"], ["none"]) else others,
        subjects=option_values.parse_names(subjects),
        # A mask is the one region unless others are named beside it.
        rois=option_values.parse_names(rois) or (["mask"] if mask else None),
        protocols=option_values.parse_names(protocols),
        controls=option_values.parse_conditions(controls, "essential") if controls is not None else None,
        control_stimuli=control_stimuli,
        heldout=heldout if heldout != "none" else "",
        folds=option_values.parse_folds(folds),
        split=option_values.parse_split(split),
        seed=seed,
        samples=samples,
        options=option_values.loader_options(loader, mask) or None,
    )

    def finished(runs, computed):
        write_reports(plan, runs, computed)
        if computed:
            # Whoever looks in the meantime sees what is finished.
            write_leaderboard(out)

    engine = None if cluster is None else Cluster.read(cluster)
    # On a cluster a device is chosen where it is.
    # Which rows there are.
    given = dict(methods=option_values.parse_names(methods), preset=preset, weights=weights, others=others)
    given |= dict(sessions=option_values.parse_names(sessions), hours=option_values.parse_names(hours), **asked)
    chosen = device if engine and not plan_only else option_values.torch_device(device)
    drawing = dict(device=chosen, memory=option_values.parse_memory(memory), batch_size=batch_size)
    # Processes that were started together share the cells, and each fits its own.
    leave()
    if plan_only:
        plan = planned_benchmark(out, data, write=False, **given)
        _show_plan(out, plan, features, drawing, reproducible)
        return
    outcomes = []
    with undone_if_it_fails(out):
        plan = planned_benchmark(out, data, **given)
        for name in plan.protocols:
            check_judges(load_protocol(name))
        drawing["reproducible"] = reproducible
        with show_progress() as progress:
            if engine is None:
                computed = work_through(out, plan, features=features, finished=finished, progress=progress, **drawing)
            else:
                outcomes, computed = _work_on(engine, out, plan, features, drawing, progress)
    show_outcomes(outcomes)
    if any(out.glob("*/*/*/scores/*.json")) or engine is None:
        leaderboard = collect(out)
        page = write_pages(leaderboard, out)
        show_boards(leaderboard)
        how = "computed by this process" if engine is None else "done by workers"
        say(f"{computed} of {len(plan.cells())} cells were {how}.")
        say(f"Leaderboard, with controls, differences and every subject: {page} (also .md and .csv)")
        for figure in sorted(out.glob("sessions-*.svg")):
            say(f"Scores by sessions, as a figure: {figure}")
    refuse_failures(outcomes)


def write_reports(plan, runs, computed):
    """Write the reports of a cell's runs, if anything was computed or they are not there."""
    from brainrecon.report.run.run_report import is_reported, write_report

    # The held-out one first: the other's report leads to it.
    for run in reversed(runs):
        if computed or not is_reported(run, plan.protocols[0]):
            write_report(run, plan.protocols[0])


def finish_cell(folder, cell, features, only=None, **drawing):
    """Do a cell of the benchmark in a folder, or a part of it, in a worker of a cluster.

    Parameters
    ----------
    folder, features : str
    cell : list of method, subject, roi or None
    only, **drawing
        As for `brainrecon.studies.benchmark.finish_cell`.

    Returns
    -------
    dict
        `computed`, whether anything was, and `files`, scores and report.
    """
    from brainrecon.cli.progress import show_progress
    from brainrecon.studies import benchmark
    from brainrecon.studies.plan import Plan

    plan = Plan.read(folder)
    with show_progress() as progress:
        computed = benchmark.finish_cell(
            folder,
            plan,
            cell,
            only=only,
            features=features,
            finished=lambda runs, computed: write_reports(plan, runs, computed),
            progress=progress,
            **drawing,
        )
    place = benchmark.cell_folder(folder, *cell)
    written = [*place.rglob("scores/[!.]*.json"), *place.glob("report.html")]
    return {"computed": computed, "files": [str(path) for path in written]}


def _work_on(engine, out, plan, features, drawing, progress):
    """Have the cells of a plan done by the workers of a cluster; their outcomes, and how many are done."""
    from brainrecon.cli.on_cluster import STATE, drained
    from brainrecon.features.store import FeatureStore
    from brainrecon.report.leaderboard.write import write_leaderboard
    from brainrecon.studies.draining import Cell

    store = str(FeatureStore(features).folder.absolute())
    left = [cell for cell in plan.cells() if not _is_finished(out, plan, cell, store)]

    def phase(cells, ending="", **asked):
        given = {"folder": str(out.absolute()), "features": store} | drawing | asked
        return [
            Cell(
                "/".join(part for part in cell if part) + ending,
                f"{__name__}:{finish_cell.__name__}",
                given | {"cell": cell},
            )
            for cell in cells
        ]

    def finished(outcome):
        if outcome.value.get("computed") and outcome.value["files"]:
            # Whoever looks in the meantime sees what is finished.
            write_leaderboard(out)

    n, outcomes, failed = engine.shards, [], set()
    phases = [lambda cells: phase(cells)]
    if n > 1:
        phases = [
            lambda cells: phase(cells, ", fit", only="fit"),
            lambda cells: [
                one for i in range(n) for one in phase(cells, f", draw {i} of {n}", only="draw", shard=[i, n])
            ],
            lambda cells: phase(cells, ", rest"),
        ]
    with drained(engine, out / STATE, progress) as drain:
        for cells in phases:
            ended = drain(cells([cell for cell in left if cell not in failed]), finished)
            failed |= {tuple(outcome.cell.arguments["cell"]) for outcome in ended if not outcome.is_done}
            outcomes += ended
    return outcomes, len(left) - len(failed)


def _is_finished(out, plan, cell, store):
    from brainrecon.report.run.run_report import is_reported
    from brainrecon.studies.benchmark import finished_runs
    from stages.ground.errors import InputError

    try:
        runs = finished_runs(out, plan, cell, store)
    except InputError:
        # Whoever works on it says so, and fails alone.
        return False
    return runs is not None and all(is_reported(run, plan.protocols[0]) for run in runs)


# How work begins that several rows share.
FOR_ALL = "once, "


def _show_plan(out, plan, features, drawing, reproducible):
    """What is left of all cells, a row for each kind of work in each."""
    from dataclasses import replace

    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.console import say
    from brainrecon.cli.plan_table import show_plan
    from brainrecon.runs.plan import BEFORE, FETCHING, planned, works_of
    from brainrecon.studies.benchmark import cell_folder, config_of

    works, batch_size = [], 1 if reproducible else drawing["batch_size"]
    for cell in plan.cells():
        machine = (features, drawing["device"], drawing["memory"])
        with planned(cell_folder(out, *cell), config_of(out, plan, cell), *machine) as run:
            asked = [name for name in (RECONSTRUCTION, *plan.controls) if name not in run.not_drawn(plan.controls)]
            name = " ".join(part for part in cell if part)
            found = works_of(run, asked, plan.control_stimuli or None, batch_size)
            if before := plan.pretraining_of(cell[0]):
                # The run of others before is one for all rows that need the same.
                place = " ".join(part for part in (before, *cell[1:]) if part)
                found = [
                    replace(work, what=f"{FOR_ALL}{place} {work.what}") if work.what.startswith(BEFORE) else work
                    for work in found
                ]
            # Cells share what is fetched.
            shared = [work for work in found if work.what.startswith((FETCHING, FOR_ALL)) and work not in works]
            own = [work for work in found if not work.what.startswith((FETCHING, FOR_ALL))]
            works += shared + [replace(work, what=f"{name}: {work.what}") for work in own]
    show_plan(works, drawing["device"], out)
    if plan.heldout:
        say(
            f"Each cell is fitted and drawn once more on the held-out split {plan.heldout}, which takes about as much again."
        )
