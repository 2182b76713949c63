"""``brainrecon evaluate``: score what has been drawn, drawing the controls that are asked for."""

from brainrecon.cli import options


def evaluate(
    run: options.RunFolder,
    controls: options.Controls = None,
    control_stimuli: options.ControlStimuli = None,
    protocol: options.Protocol = "brainrecon-1",
    batch_size: options.BatchSize = 16,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Score reconstructions and controls against the shown pictures, per stimulus, with 95 % intervals."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.folder import Run

    conditions = options.parse_conditions(controls)
    opened = Run(run, features, options.torch_device(device))
    with show_progress() as progress:
        if conditions:
            opened.reconstruct(conditions, control_stimuli=control_stimuli, batch_size=batch_size, progress=progress)
        scores = opened.evaluate(protocol, progress)
    show_scores(scores)


def show_scores(scores):
    """Print a row per condition: number of stimuli, then each metric's mean and half the width of its 95 % interval."""
    from brainrecon.cli.console import say, table
    from brainrecon.report.names import condition_label, score_text

    def cell(condition, spec):
        row = scores.mean(condition, spec.name)
        if row is None:
            return "-"
        mean = score_text(row.mean, spec.metric, unit=False)
        if row.ci_low is None:
            return mean
        return f"{mean} ±{score_text((row.ci_high - row.ci_low) / 2, spec.metric, unit=False)}"

    columns = [spec.label + (" (%)" if spec.metric.percent else "") for spec in scores.metrics.values()]
    rows = [
        (
            condition_label(name),
            len(scores.conditions[name].stimulus_ids),
            *(cell(name, spec) for spec in scores.metrics.values()),
        )
        for name in scores.conditions
    ]
    table(("condition", "stimuli", *columns), rows)
    say(
        f"± half the 95 % interval (bootstrap over stimuli); protocol {scores.protocol.name} {scores.protocol.sha256[:12]}, "
        f"with its judges {scores.identity[:12]}; "
        "per stimulus in scores/, paired differences in the report"
    )
    if scores.vintage:
        say(f"data: {scores.vintage}")
