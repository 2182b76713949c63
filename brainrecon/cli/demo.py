"""``brainrecon demo``: a simulated cohort, the two-stage method, its controls, scores and a report, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options

# Seconds that drawing the controls may take; where that is too short for all stimuli, fewer are scored under controls.
CONTROL_SECONDS = 150
FEWEST_CONTROL_STIMULI = 32


def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for cohort, features and run.")] = Path(
        "brainrecon-demo"
    ),
    sessions: Annotated[int, typer.Option(metavar="N", min=1, help="Sessions of the simulated subject.")] = 10,
    trials_per_session: Annotated[int, typer.Option(metavar="N", min=1, help="Trials per session.")] = 390,
    shared: Annotated[int, typer.Option(metavar="N", min=2, help="Test pictures.")] = 100,
    voxels: Annotated[int, typer.Option(metavar="N", min=1, help="Voxels in nsdgeneral.")] = 1500,
    kinds: Annotated[
        str, typer.Option(metavar="KINDS", help="Kinds of pictures, separated by commas: scene, digit, pattern.")
    ] = "scene",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the cohort and of all noise.")] = 0,
    control_stimuli: options.control_stimuli("as many as take 150 seconds here, 32 or more") = None,
    device: options.Device = "auto",
) -> None:
    """Everything on the embedded default: simulate, fit, reconstruct with all controls, score, report."""
    from brainrecon.assembly.condition import CONTROLS
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.run import finish
    from brainrecon.runs.run import Run
    from brainrecon.simulation import simulate

    device = option_values.torch_device(device)
    cohort = out / "nsd"
    with show_progress() as progress:
        simulated = simulate(
            cohort,
            sessions=sessions,
            trials_per_session=trials_per_session,
            shared=shared,
            voxels=voxels,
            seed=seed,
            kinds=[kind.strip() for kind in kinds.split(",")],
            progress=progress,
        )
    say(str(simulated))
    config = option_values.run_config("brain-diffuser", f"nsd:{cohort}", subject="subj01", seed=seed, weights="tiny")
    opened = Run.create(out / "run", config, out / "features", device)
    with show_progress() as progress:
        opened.fit(progress)
    if control_stimuli is None:
        # What an earlier run of the same demo began with stays, however fast the machine is today.
        drawn = len(list((opened.folder / "controls" / "without_stage_one" / "images").glob("*.png")))
        control_stimuli = drawn or affordable_stimuli(opened, shared)
        if control_stimuli < shared:
            say(
                f"On this machine all controls would take too long: they are drawn for {control_stimuli} of {shared} stimuli."
            )
    finish(opened, CONTROLS, control_stimuli)


def affordable_stimuli(opened, shared):
    """How many stimuli all controls can be drawn for within `CONTROL_SECONDS`, from one timed batch."""
    import time

    from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
    from brainrecon.assembly.values import Item
    from brainrecon.runs.values import RunValues

    values, batch_size = RunValues(opened), 16
    step = values.chain.giver(values.chain.output)
    items = [Item(opened.subject.name, name) for name in values.stimulus_ids[:batch_size]]
    read, seconds = values.values(RECONSTRUCTION, step, items), []
    for _ in range(2):
        began = time.monotonic()
        list(step.stream(items, read, seed=opened.config.seed, batch_size=batch_size))
        seconds.append(time.monotonic() - began)
    drawn = [one for one in CONDITIONS.values() if one.is_control and one.applies_to(values.chain)]
    affordable = int(CONTROL_SECONDS / (min(seconds) / len(items) * len(drawn)))
    return min(shared, max(FEWEST_CONTROL_STIMULI, affordable))
