"""``brainrecon evaluate``: score what has been drawn, drawing the controls that are asked for."""

from brainrecon.cli import options


def evaluate(
    run: options.RunFolder,
    controls: options.Controls = None,
    control_stimuli: options.ControlStimuli = None,
    protocol: options.Protocol = "embedded-1",
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
    """Print the summary: a row per condition and metric with its interval."""
    from brainrecon.cli.console import say, table
    from brainrecon.report.names import score_text

    rows = []
    for row in scores.summary:
        metric = scores.metrics[row.metric].metric
        low, high = (score_text(value, metric, unit=False) for value in (row.ci_low, row.ci_high))
        rows.append((row.condition, row.metric, row.n, score_text(row.mean, metric), f"{low} to {high}"))
    table(("condition", "metric", "stimuli", "mean", "95 % interval"), rows)
    say(f"protocol {scores.protocol.name} {scores.protocol.sha256[:12]}")
