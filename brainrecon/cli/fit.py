"""``brainrecon fit``: encode the training stimuli, fit the decoder, predict the test embeddings."""

from brainrecon.cli import options


def fit(
    out: options.Out,
    method: options.Method = None,
    data: options.Data = None,
    subject: options.SubjectName = None,
    roi: options.Roi = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    folds: options.Folds = None,
    split: options.Split = None,
    loader: options.LoaderOptions = None,
    captions: options.Captions = None,
    caption_choices: options.CaptionChoices = None,
    features: options.Features = None,
    device: options.Device = "auto",
) -> None:
    """Fit a method's decoder to one subject, in a run folder."""
    from brainrecon.cli.console import say
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.folder import Run

    wanted = options.run_config(
        method,
        data,
        config,
        assignments,
        subject=subject,
        roi=roi,
        seed=seed,
        samples=samples,
        folds=folds,
        split=split,
        loader=loader,
        captions=captions,
        caption_choices=caption_choices,
    )
    run = Run.create(out, wanted, features, options.torch_device(device))
    with show_progress() as progress:
        run.fit(progress)
    for line in describe_fit(run):
        say(line)


def describe_fit(run):
    """Lines that say what was fitted: notes of the dataset, then penalty and held-out correlation of each target."""
    part = run.parts[0]
    lines = list(part.subject.notes)
    if not part.method.settings.text_context:
        lines.append("No captions: the text context is dropped (text_context = false in config.toml).")
    decoder = part.method.decoder
    where = "" if part is run else " (first fold)"
    return lines + [
        f"{name}{where}: penalty {decoder.alpha_[name]:g}, held-out correlation {decoder.held_out_correlation_[name]:.3f}"
        for name in decoder.groups_
    ]
