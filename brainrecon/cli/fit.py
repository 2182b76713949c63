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
    weights: options.Weights = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    folds: options.Folds = None,
    split: options.Split = None,
    loader: options.LoaderOptions = None,
    captions: options.Captions = None,
    caption_choices: options.CaptionChoices = None,
    features: options.Features = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
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
        weights=weights,
    )
    run = Run.create(out, wanted, features, options.torch_device(device), options.parse_memory(memory))
    for line in describe_cost(run):
        say(line)
    with show_progress() as progress:
        run.fit(progress)
    for line in describe_fit(run):
        say(line)


def describe_cost(run):
    """What an exact search for every column's penalty will cost, before it begins; no lines for any other fit."""
    part, settings = run.parts[0], getattr(run.config.settings, "decoder", None)
    if getattr(settings, "penalty", None) != "target" or part.is_fitted:
        return []
    from brainrecon.methods import method_class
    from stages.decoders.ridge.ridge_solver import penalties

    train = part.subject.train
    n_trials = train.n_stimuli if settings.trials == "averaged" else train.n_trials
    targets = method_class(run.config.method)(run.config.settings).targets
    n_targets = sum(target.n_targets for target in targets.values())
    columns = sum(target.n_targets * len(penalties(settings.alpha, name)) for name, target in targets.items())
    operations = 2 * n_trials**2 * columns
    return [
        f"A penalty for each of {n_targets:,} columns by exact leave-one-out: {operations:.1e} operations "
        f"({operations / 1e11 / 60:.1f} min at 100 billion a second); decoder.penalty=group looks at a sketch only."
    ]


def describe_fit(run):
    """Lines that say what was fitted: notes of the dataset, then a row for each target or part, then what is stored."""
    part = run.parts[0]
    where = "" if part is run else " (first fold)"
    lines = list(part.subject.notes)
    if not getattr(part.method.settings, "text_context", True):
        lines.append("No captions: the text context is dropped (text_context = false in config.toml).")
    lines += [_row_in_words(row, where) for row in part.method.summary()]
    if part.method.predicts_embeddings:
        voxels = part.method.decoding.voxels
        if voxels is not None:
            lines.append(f"{voxels.sum():,} of {len(voxels):,} voxels{where}, chosen on the training stimuli.")
        lines += part.method.decoder.notes()
    return lines


def _row_in_words(row, where):
    """A row of what was learnt as text: its name, then each number that is known with what it is."""
    (_, name), *numbers = row.items()
    told = ", ".join(f"{label.replace('_', ' ')} {_number(number)}" for label, number in numbers if number == number)
    return f"{name}{where}: {told}"


def _number(number):
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}" if abs(number) >= 10 else f"{number:.3f}"
