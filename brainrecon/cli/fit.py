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
    """Lines that say what was fitted: notes of the dataset, then penalty and held-out correlation of each target."""
    part = run.parts[0]
    lines = list(part.subject.notes)
    where = "" if part is run else " (first fold)"
    if not part.method.predicts_embeddings:
        return lines + [_row_in_words(row, where) for row in part.method.summary()]
    if not getattr(part.method.settings, "text_context", True):
        lines.append("No captions: the text context is dropped (text_context = false in config.toml).")
    decoder = part.method.decoder
    lines += [
        f"{name}{where}: penalty {decoder.alpha_[name]:g}, held-out correlation {decoder.held_out_correlation_[name]:.3f}"
        for name in decoder.groups_
    ]
    if part.method.decoding.voxels is not None:
        voxels = part.method.decoding.voxels
        lines.append(f"{voxels.sum():,} of {len(voxels):,} voxels{where}, chosen on the training stimuli.")
    if hasattr(decoder, "sizes_"):
        lines.append(_what_is_kept(decoder))
    else:
        lines += [f"{name}{where}: " + _bands(penalty) for name, penalty in decoder.band_penalty_.items()]
    return lines


def _row_in_words(row, where):
    """A row of what was learnt as text: its name, then each number with what it is."""
    (_, name), *numbers = row.items()
    texts = [f"{number:,}" if isinstance(number, int) else f"{number:.3f}" for _, number in numbers]
    return f"{name}{where}: " + ", ".join(
        f"{label.replace('_', ' ')} {text}" for (label, _), text in zip(numbers, texts)
    )


def _bands(penalty):
    return ", ".join(f"{band} {value:g}" for band, value in penalty.items())


def _what_is_kept(decoder):
    """What serves patterns to come, how large it is, and how large the other ways would be; only where it matters."""
    kept = {
        "weights": "a weight for every voxel and column",
        "targets": "training patterns, their factor and the targets",
        "factor": "training patterns and their factor; targets are read from the feature store",
    }
    sizes, own = decoder.sizes_, decoder.kept_
    others = ", ".join(f"{name} {_size(sizes[name])}" for name in kept if name != own)
    return f"The decoder keeps {kept[own]}: {_size(sizes[own])} ({others}: --set decoder.keep=...)."


def _size(n_bytes):
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
