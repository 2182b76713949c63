"""``brainrecon fit``: encode the training stimuli, fit the decoder, predict the test embeddings."""

from brainrecon.cli import option_values, options


def fit(
    out: options.Out,
    method: options.Method = None,
    data: options.Data = None,
    subject: options.SubjectName = None,
    subjects: options.Subjects = None,
    new_subject: options.NewSubject = None,
    sessions: options.Sessions = None,
    hours: options.Hours = None,
    training_stimuli: options.TrainingStimuli = None,
    pretrained: options.Pretrained = None,
    roi: options.Roi = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    decoder: options.Decoder = None,
    weights: options.Weights = None,
    seed: options.Seed = None,
    samples: options.Samples = None,
    folds: options.Folds = None,
    split: options.Split = None,
    beside: options.Beside = None,
    loader: options.LoaderOptions = None,
    mask: options.Mask = None,
    captions: options.Captions = None,
    caption_choices: options.CaptionChoices = None,
    features: options.Features = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    plan: options.Plan = False,
) -> None:
    """Fit a method's decoder to one subject, in a run folder."""
    from brainrecon.cli.console import say
    from brainrecon.cli.plan_table import show_plan
    from brainrecon.cli.progress import show_progress
    from brainrecon.runs.beginning import undone_if_it_fails
    from brainrecon.runs.estimate import of_fitting
    from brainrecon.runs.plan import planned, works_of_splits
    from brainrecon.runs.run import Run
    from stages.ground.process_group import is_first

    wanted = option_values.run_config(
        method,
        data,
        config,
        assignments,
        subject=subject,
        subjects=subjects,
        new_subject=new_subject,
        sessions=sessions,
        hours=hours,
        training_stimuli=training_stimuli,
        pretrained=pretrained,
        roi=roi,
        seed=seed,
        samples=samples,
        folds=folds,
        split=split,
        beside=beside,
        loader=loader,
        mask=mask,
        captions=captions,
        caption_choices=caption_choices,
        weights=weights,
        decoder=decoder,
    )
    if plan:
        with planned(
            out, wanted, features, option_values.torch_device(device), option_values.parse_memory(memory)
        ) as run:
            show_plan(works_of_splits(run, draws=False), run.machine.device, out)
        return
    with undone_if_it_fails(out):
        run = Run.create(out, wanted, features, option_values.torch_device(device), option_values.parse_memory(memory))
        for line in of_fitting(run):
            say(line)
        with show_progress() as progress:
            run.fit(progress)
    if is_first():
        for line in describe_fit(run):
            say(line)


def describe_fit(run):
    """Lines that say what was fitted: notes of the dataset, then what each step learned."""
    part = run.parts[0]
    where = "" if part is run else " (first fold)"
    lines = [*part.subject.notes, *part.config.remarks()]
    lines += [row_in_words(row, where) for row in part.chain.summary()]
    return lines + [f"{line}{where}" for step in part.chain.steps for line in step.remarks()]


def row_in_words(row, where=""):
    """A row of what was learnt as text: its name, then each number that is known with what it is."""
    (_, name), *numbers = row.items()
    told = ", ".join(f"{label.replace('_', ' ')} {_number(number)}" for label, number in numbers if number == number)
    return f"{name}{where}: {told}"


def _number(number):
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}" if abs(number) >= 10 else f"{number:.3f}"
