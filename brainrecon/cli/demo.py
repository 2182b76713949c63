"""``brainrecon demo``: a simulated cohort, the two-stage method, its controls, scores and a report, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options

# Seconds that drawing the controls may take; where that is too short for all stimuli, fewer are scored under controls.
CONTROL_SECONDS = 150
FEWEST_CONTROL_STIMULI = 32


def demo(
    out: Annotated[Path, typer.Option(help="Folder for cohort, features and run.")] = Path("brainrecon-demo"),
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of the simulated subject.")] = 10,
    trials_per_session: Annotated[int, typer.Option(min=1, help="Trials per session.")] = 390,
    shared: Annotated[int, typer.Option(min=2, help="Test pictures.")] = 100,
    voxels: Annotated[int, typer.Option(min=1, help="Voxels in nsdgeneral.")] = 1500,
    kinds: Annotated[str, typer.Option(help="Kinds of pictures: scene, digit, pattern.")] = "scene",
    seed: Annotated[int, typer.Option(help="Seed of the cohort and of all noise.")] = 0,
    control_stimuli: options.ControlStimuli = None,
    device: options.Device = "auto",
) -> None:
    """Everything on the embedded default: simulate, fit, reconstruct with all controls, score, report."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.run import finish
    from brainrecon.methods.conditions import CONTROLS
    from brainrecon.runs.folder import Run
    from brainrecon.simulation import simulate

    device = options.torch_device(device)
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
    config = options.run_config("brain-diffuser", f"nsd:{cohort}", subject="subj01", seed=seed, weights="tiny")
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

    import numpy as np

    from brainrecon.methods.conditions import DIFFUSED, METHOD_ITSELF

    method, batch_size = opened.method, 16
    shape = {name: (batch_size, target.n_targets) for name, target in method.targets.items()}
    nothing = {name: np.zeros(size, dtype=np.float32) for name, size in shape.items()}
    grey = np.full((batch_size, method.generator.image_size, method.generator.image_size, 3), 127, dtype=np.uint8)
    names = [str(row) for row in range(batch_size)]
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        list(method.generator.generate(method.requests(METHOD_ITSELF, names, nothing, grey), num_inference_steps=4))
        seconds.append(time.monotonic() - began)
    # Three of four steps are taken at the default strength; what is not a step is small against that.
    per_step = min(seconds) / (4 * method.settings.generator.strength)
    steps = method.settings.generator.num_inference_steps
    taken = sum(
        steps * (1 if name == "without_stage_one" else method.settings.generator.strength)
        for name in DIFFUSED
        if name != METHOD_ITSELF
    )
    affordable = int(CONTROL_SECONDS / (per_step / batch_size * taken))
    return min(shared, max(FEWEST_CONTROL_STIMULI, affordable))
