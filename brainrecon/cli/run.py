"""``brainrecon run``: fit, reconstruct, evaluate and report, in one go; a second time, only what is missing."""

from brainrecon.cli import option_values, options


def run(
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
    controls: options.controls("shuffled_responses") = None,
    control_stimuli: options.control_stimuli() = None,
    protocol: options.Protocol = None,
    batch_size: options.BatchSize = None,
    reproducible: options.Reproducible = False,
    features: options.Features = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    plan: options.Plan = False,
) -> None:
    """Fit, reconstruct, evaluate and report. Shuffled responses are drawn as a control unless told otherwise."""
    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.plan_table import show_plan
    from brainrecon.runs.beginning import undone_if_it_fails
    from brainrecon.runs.plan import planned, works_of_splits
    from brainrecon.runs.run import Run

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
    conditions = option_values.parse_conditions(controls, default="shuffled_responses")
    if plan:
        with planned(
            out, wanted, features, option_values.torch_device(device), option_values.parse_memory(memory)
        ) as opened:
            asked = (RECONSTRUCTION, *conditions)
            works = works_of_splits(opened, asked, control_stimuli, 1 if reproducible else batch_size)
            show_plan(works, opened.machine.device, out)
        return
    with undone_if_it_fails(out):
        opened = Run.create(
            out, wanted, features, option_values.torch_device(device), option_values.parse_memory(memory)
        )
        finish(opened, conditions, control_stimuli, protocol, batch_size, reproducible)


def finish(opened, conditions, control_stimuli, protocol=None, batch_size=None, reproducible=False):
    """Do everything of a run that is not done yet and print scores and where the report is."""
    from brainrecon.assembly.condition import RECONSTRUCTION
    from brainrecon.cli.console import say
    from brainrecon.cli.fit import describe_fit
    from brainrecon.cli.progress import show_progress
    from brainrecon.cli.score_tables import show_splits
    from brainrecon.evaluation.judges import check_judges
    from brainrecon.evaluation.protocols.protocol import load_protocol
    from brainrecon.report.run.run_report import write_report
    from brainrecon.runs.estimate import of_drawing, of_fitting
    from brainrecon.runs.score import score_splits
    from stages.ground.read_only import told_if_read_only

    if opened.unfitted.draws:
        # Now rather than after hours of drawing.
        check_judges(load_protocol(protocol or opened.protocol))
    part, batch = opened.parts[0], 1 if reproducible else batch_size
    for line in of_fitting(opened):
        say(line)
    for run in opened.splits.values():
        asked = [name for name in (RECONSTRUCTION, *conditions) if name not in run.not_drawn(conditions)]
        for line in of_drawing(run, asked, control_stimuli, batch):
            say(line)
    with show_progress() as progress:
        opened.fit(progress)
    for line in describe_fit(opened):
        say(line)
    if (
        part.config.system.reads_single_trials
        and (most := int(part.subject.test.repeats.max())) < opened.config.samples
    ):
        say(f"A stimulus has {most} trials at most, so that {most} samples are drawn and not {opened.config.samples}.")
    for name, reason in (said := opened.not_drawn(conditions)).items():
        say(f"{name} is left out: {reason}.")
    for split, run in opened.splits.items():
        for name, reason in run.not_drawn(conditions).items():
            if name not in said:
                say(f"{name} of {split} is left out: {reason}.")
    with show_progress() as progress:
        opened.reconstruct(
            (RECONSTRUCTION, *conditions),
            control_stimuli=control_stimuli,
            batch_size=batch_size,
            reproducible=reproducible,
            progress=progress,
        )
        splits = score_splits(opened, protocol, progress=progress)
    # Before a word of it is printed: what has been worked out is not lost to a print.
    path = None
    with told_if_read_only("Reports", opened.folder):
        path = write_report(opened, next(iter(splits.values())).scores.protocol)
    show_splits(splits)
    if path is not None:
        say(f"Report: {path}")
