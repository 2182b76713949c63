"""``brainrecon reconstruct``: draw the pictures of a fitted run that are not there yet."""

from dataclasses import replace

from brainrecon.cli import options


def reconstruct(
    run: options.RunFolder,
    samples: options.Samples = None,
    stimuli: options.Stimuli = None,
    controls: options.Controls = None,
    control_stimuli: options.ControlStimuli = None,
    batch_size: options.BatchSize = None,
    shard: options.Shard = None,
    reproducible: options.Reproducible = False,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Reconstruct the pictures: stage one, then the diffusion. What is there is left alone."""
    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.estimate import of_drawing
    from brainrecon.runs.run import Run

    conditions = (RECONSTRUCTION, *options.parse_conditions(controls))
    part = options.parse_shard(shard)
    opened = Run(run, features, options.torch_device(device))
    if samples is not None:
        opened = Run.create(run, replace(opened.config, samples=samples), features, opened.machine.device)
    for line in of_drawing(opened, conditions, control_stimuli, 1 if reproducible else batch_size):
        say(line)
    with show_progress() as progress:
        opened.reconstruct(
            conditions,
            stimuli=options.parse_names(stimuli),
            control_stimuli=control_stimuli,
            batch_size=batch_size,
            shard=part,
            reproducible=reproducible,
            progress=progress,
        )
    say(f"Pictures are in {opened.folder / 'images'}")
