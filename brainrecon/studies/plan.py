"""The plan of a benchmark: which methods, on which subjects and regions, scored how. `benchmark.toml` on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import tomli_w

from brainrecon.assembly.condition import CONTROLS, ESSENTIAL_CONTROLS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import differences, from_dict, to_dict, with_weights
from brainrecon.datasets import load
from brainrecon.datasets import subjects as subjects_of
from brainrecon.datasets.cohort import there_of
from brainrecon.datasets.fewer_trials import n_sessions
from brainrecon.evaluation.protocols.protocol import DEFAULT, load_protocol
from brainrecon.runs.config import (
    LEAVE_ONE_OUT,
    RunConfig,
    absolute_source,
    check_folds,
    read_toml,
    with_absolute_mask,
    with_settings,
)
from brainrecon.runs.record import check_checkpoint_names, default_protocol, split_checkpoint
from brainrecon.runs.shared_stimuli import of_shared
from brainrecon.runs.splitting import DEFAULT_CLIP, check_feasible, check_rule, rule_for
from brainrecon.studies.row_data import PRETRAINED, TOGETHER, check_row, data_of_row, without_data
from stages.ground.errors import InputError
from weights.names import trouble_with_part
from weights.suggestions import did_you_mean
from weights.whole_files import write_text

PLAN, PRETRAINING = "benchmark.toml", "pretraining"


@dataclass(frozen=True)
class Plan:
    """A benchmark: its data, methods, subjects, regions, protocols and controls, complete.

    >>> methods = {"small": {"method": "ridge-to-pixels", "settings": {"size": 32}}, "mean": {"method": "mean-image"}}
    >>> plan = Plan("nsd:/data/nsd", methods, subjects=("subj01",), rois=("V1", "V4"))
    >>> plan.cells()
    [('small', 'subj01', 'V1'), ('mean', 'subj01', 'V1'), ('small', 'subj01', 'V4'), ('mean', 'subj01', 'V4')]

    Attributes
    ----------
    data : str
        ``kind:path``.
    methods : dict of str to dict
        Settings of each method, nested, with ``method`` its published name; by the name it has in the table. One that has a
        ``roi`` of its own is given those voxels in place of the plan's; ``sessions`` and ``others`` likewise say what a row
        learns from, see `brainrecon.studies.row_data`.
    subjects : tuple of str
        Who is tested.
    rois : tuple of str
        Empty: the dataset's own choice of voxels.
    protocols : tuple of str
        When a plan is made: that of the first method which draws photographs with published networks, or the toolkit's own.
    controls : tuple of str
        Conditions that are drawn beside the method.
    control_stimuli : int
        Draw controls for so many stimuli, 0 for all.
    heldout : str
        Rule of the held-out split, "" for none. If it is left open, `make_plan` takes what suits the number of stimuli.
    folds : int or "stimuli"
        0 for the dataset's own split; otherwise every stimulus is tested once, as `brainrecon.runs.config.DataSettings` has it.
    split : str
        Rule of the stimuli that are tested in place of the dataset's own test split, "" for these.
    seed, samples : int
    options : dict
        Further options of the dataset's loader.
    preset : str
        The published comparison whose rows the methods are, "" for none.
    split_checkpoint : str
        What makes clusters of the held-out split, the same for all methods, so that all of them are tested on the same
        stimuli. "": the first method's own, or the embedded one; it is settled when the plan is made.
    cohort : tuple of str
        Who is learned from in rows with ``others``, whoever is tested aside; settled when the plan is made, empty if no row
        has any.
    """

    data: str
    methods: dict[str, dict]
    subjects: tuple[str, ...]
    rois: tuple[str, ...] = ()
    protocols: tuple[str, ...] = (DEFAULT,)
    controls: tuple[str, ...] = ESSENTIAL_CONTROLS
    control_stimuli: int = 0
    heldout: str = ""
    seed: int = 0
    samples: int = 1
    options: dict[str, str | int | float | bool | list] = field(default_factory=dict)
    preset: str = ""
    split_checkpoint: str = ""
    folds: int | str = 0
    split: str = ""
    cohort: tuple[str, ...] = ()

    def __post_init__(self):
        # Plans of earlier versions have settings beside the method's name.
        object.__setattr__(self, "methods", {name: with_settings(values) for name, values in self.methods.items()})
        for what, names in (("methods", self.methods), ("subjects", self.subjects), ("protocols", self.protocols)):
            if not names:
                raise InputError(f"A benchmark needs {what} and got none; name at least one with --{what}.")
        for name in self.methods:
            if not re.fullmatch(r"[\w.+, -]+", name) or name in (".", "..", PRETRAINING):
                raise InputError(
                    f"A method is called {name!r}, which names no folder of its own; use letters, digits and - _ . only."
                )
            check_row(name, self.methods[name])
        for name in (*self.methods, *self.subjects):
            if trouble := trouble_with_part(name):
                raise InputError(
                    f"{str(name)[:80]!r} cannot name a folder of a benchmark of {self.data}, for {trouble}; call it otherwise."
                )
        if unknown := [name for name in self.controls if name not in CONTROLS]:
            meant = did_you_mean(unknown[0], CONTROLS)
            raise InputError(f"There is no control {unknown[0]!r}; expected some of {', '.join(CONTROLS)}{meant}.")
        names = [load_protocol(name).name for name in self.protocols]
        if len(set(names)) < len(names):
            raise InputError(
                f"Two protocols are called {max(names, key=names.count)}; their scores would overwrite each other: rename one."
            )
        check_folds(self.folds)
        if self.folds and self.split:
            raise InputError(f"Both folds ({self.folds}) and split ({self.split!r}) are given; leave one out.")
        if self.heldout:
            check_rule(self.heldout)
        alone = [name for name, values in self.methods.items() if not values.get("others")]
        for rule in (self.split, self.heldout):
            if alone and of_shared(rule):
                raise InputError(
                    f"Row {alone[0]} learns from one subject alone but the split {rule} is of stimuli that several saw; name the "
                    "tested stimuli in a file, for all rows: --split ids:FILE."
                )
        if (self.heldout or self.split) and not self.split_checkpoint:
            object.__setattr__(self, "split_checkpoint", self._clip())
        places = [region_folder(roi) for roi in self.rois]
        if len(set(places)) < len(places):
            raise InputError(f"Two of the regions {', '.join(self.rois)} would share a folder; leave one of them out.")
        if self.rois and (own := [name for name, values in self.methods.items() if "roi" in values]):
            raise InputError(
                f"Method {own[0]} has voxels of its own, {self.methods[own[0]]['roi']}, but the benchmark has the regions "
                f"{', '.join(self.rois)}; leave --rois and --mask out."
            )

    def _clip(self):
        configs = (self._config(without_data(values), {"source": self.data}) for values in self.methods.values())
        # The first method's that has a CLIP of its own: the embedded one knows no photographs.
        return next((clip for one in configs if (clip := split_checkpoint(one)) != DEFAULT_CLIP), DEFAULT_CLIP)

    def cells(self):
        """(method, subject, roi or None) of every cell; methods change fastest, so that a table fills evenly.

        A row that learns from all subjects together is one cell, that of the first subject, in which all are tested.
        """
        return [
            (method, subject, roi)
            for subject in self.subjects
            for roi in (self.rois or (None,))
            for method, values in self.methods.items()
            if subject == self.subjects[0] or values.get("others") != TOGETHER
        ]

    def config(self, method, subject, roi, split=None):
        """RunConfig of one cell.

        Of a row with others before, the run of these is made in the cell's own folder, unless `pretrained` is added: see
        `brainrecon.studies.benchmark.config_of`.
        """
        data = {"source": self.data, "subject": subject, "options": self.options}
        rule = split or self.split
        data |= ({"roi": roi} if roi else {}) | (
            {"split": rule, "split_checkpoint": self.split_checkpoint} if rule else {"folds": self.folds}
        )
        row = self.methods[method]
        # What the row says of its data comes first.
        return self._config(without_data(row), data | data_of_row(row, subject, self.cohort))

    def _config(self, values, data):
        return RunConfig.from_dict(values | {"data": data, "seed": self.seed, "samples": self.samples})

    def pretraining_of(self, method):
        """Name that rows with the same method, settings and voxels share, of the runs that come before theirs; None of others.

        >>> rows = {f"{n} h": {"method": "noise", "sessions": n} for n in (1, 2)}
        >>> Plan("nsd:x", rows, ("subj01",)).pretraining_of("1 h") is None
        True
        """
        row, found = self.methods[method], []
        if row.get("others") != PRETRAINED:
            return None
        for values in self.methods.values():
            alike = {name: values.get(name) for name in ("settings", "roi")}
            if values.get("others") == PRETRAINED and values["method"] == row["method"] and alike not in found:
                found.append(alike)
        # Rows are only added to a plan, so that a number stays whose it is.
        number = found.index({name: row.get(name) for name in ("settings", "roi")})
        return row["method"] + (f" {number + 1}" if number else "")

    @classmethod
    def read(cls, folder):
        """The plan of a benchmark folder."""
        path = Path(folder) / PLAN
        values = read_toml(path)
        try:
            return from_dict(cls, values)
        except (InputError, TypeError) as error:
            raise InputError(f"{path} is no plan of a benchmark ({error}); mend it, or name another folder.") from None

    def write(self, folder):
        """Write the plan, whole or not at all."""
        write_text(Path(folder) / PLAN, tomli_w.dumps(to_dict(self)))

    def extended(self, data=None, methods=None, where="The benchmark", **asked):
        """The plan with more methods, subjects, regions or protocols; everything else asked for has to agree with it.

        Parameters
        ----------
        data, methods, **asked
            As for `make_plan`; None for what is not asked.
        where : str
            What has the plan, for messages.

        Raises
        ------
        InputError
            Something differs: scores of two such plans do not belong into one table.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        settings = own | {name: value for name, value in asked.items() if value is not None}
        del settings["data"], settings["methods"]
        chosen = self.methods if not methods else methods if isinstance(methods, dict) else read_methods(methods)
        other = make_plan(data or self.data, chosen, **settings)
        wanted = {f.name: getattr(other, f.name) for f in fields(other)}
        if bool(self.rois) != bool(other.rois):
            raise InputError(
                f"{where} has the regions {', '.join(self.rois) or '(the default)'} but "
                f"{', '.join(other.rois) or '(the default)'} was asked for; name regions in both, or in neither."
            )
        # If no row had others until now, there was nobody to learn from.
        own["cohort"] = own["cohort"] or wanted["cohort"]
        for name in ("subjects", "rois", "protocols"):
            own[name] = wanted[name] = tuple(dict.fromkeys((*own[name], *wanted[name])))
        own["methods"], wanted["methods"] = wanted["methods"] | own["methods"], own["methods"] | wanted["methods"]
        if found := differences(own, wanted):
            name, before, after = found[0]
            raise InputError(
                f"{where} has {name} = {before!r} but {after!r} was asked for; name another folder with --out, or leave "
                "that option out to go on with the plan as it is."
            )
        return Plan(**own | {"methods": self.methods | chosen})


def read_methods(texts, weights=None):
    """Settings of each method by its name in the table.

    Parameters
    ----------
    texts : sequence of str
        Names of methods, and TOML files with the settings of one.
    weights : {"published", "tiny"}, optional
        As for `brainrecon.assembly.settings.with_weights`.
    """
    chosen = {}
    for text in texts:
        path = Path(text)
        label, values = (path.stem, read_toml(path)) if path.suffix == ".toml" else (text, {"method": text})
        if "method" not in values:
            raise InputError(f'{path} names no method; write method = "brain-diffuser", for example.')
        if own := [name for name in ("data", "seed", "samples") if name in values]:
            raise InputError(
                f"{path} sets {own[0]}, which a benchmark has in common for all methods; leave it out there."
            )
        if label in chosen:
            raise InputError(f"Two methods are called {label}; rename one of the files.")
        try:
            chosen[label] = _checked_method(values, weights)
        except InputError as error:
            if path.suffix != ".toml":
                raise
            raise InputError(f"{path} cannot be used: {error}") from None
    return chosen


def _checked_method(values, weights):
    """Settings of one method, complete."""
    values, kind = with_settings(values), system_class(values["method"])
    values["settings"] = with_weights(values["settings"], kind, weights)
    check_checkpoint_names(kind(values["settings"]))
    return values


def make_plan(data, methods, subjects=None, told=lambda sentence: None, **rest):
    """A Plan in which everything that was left open is settled, and everything named is there.

    Parameters
    ----------
    data : str
        ``kind:path``.
    methods : dict of str to dict, or sequence of str
        As `Plan` has them, or as `read_methods` takes them.
    subjects : sequence of str, optional
        All subjects of the dataset if it is not given.
    told : callable, optional
        Given a sentence about each thing that was left open and settled by the data.
    **rest
        As for `Plan`; None for its default.

    Raises
    ------
    InputError
        Something that is named is not there, or cannot be done with these data.
    """
    chosen = methods if isinstance(methods, dict) else read_methods(methods)
    here = subjects_of(data)
    if not here:
        load(data)  # says what is missing
    named = tuple(subjects or here)
    if absent := [name for name in named if name not in here]:
        meant = did_you_mean(absent[0], here)
        raise InputError(f"There is no subject {absent[0]!r} at {data}; there are {', '.join(here) or 'none'}{meant}.")
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in rest.items() if value is not None
    }
    if "protocols" in given:
        # A file's path is kept whole, so that the plan can be gone on with from any folder.
        paths = [str(Path(name).resolve()) if name.endswith(".toml") else name for name in given["protocols"]]
        given["protocols"] = tuple(paths)
    if "options" in given:
        given["options"] = with_absolute_mask(given["options"])
    if any("others" in values for values in chosen.values()):
        given["cohort"] = there_of(data, given.get("cohort") or None)
    source = absolute_source(data)
    plan = Plan(source, chosen, named, **given)
    if "heldout" not in given:
        heldout, why = _heldout_for(plan)
        plan = replace(plan, heldout=heldout)
        if why:
            told(why)
    configs = [plan.config(*cell) for cell in plan.cells()]
    _check_sessions(plan)
    own = {values["roi"]: None for values in plan.methods.values() if "roi" in values}
    for roi in (*(plan.rois or (None,)), *own):
        which = dict(subject=plan.subjects[0], roi=roi, **plan.options)
        if plan.folds:
            # Folds need no split of the dataset's own; two will do to see that all is there.
            subject = load(plan.data, **which, fold=(0, 2 if plan.folds == LEAVE_ONE_OUT else plan.folds))
        if plan.heldout or not plan.folds:
            subject = load(plan.data, **which)
    for rule in (plan.heldout, plan.split):
        # A split of the dataset's own is asked for by its name.
        if rule and rule not in subject.splits:
            check_feasible(subject, rule)
    if "protocols" not in given:
        judged = (default_protocol(config.system, subject.pictures) for config in configs)
        plan = replace(plan, protocols=(next((name for name in judged if name != DEFAULT), DEFAULT),))
    return plan


def _check_sessions(plan):
    """Raise an InputError if a row is to learn from more sessions than a tested subject has."""
    wanted = {values["sessions"]: name for name, values in plan.methods.items() if "sessions" in values}
    if not wanted or plan.folds:
        return
    for name in plan.subjects:
        subject = load(plan.data, subject=name, **plan.options)
        if (n_there := n_sessions(subject)) < max(wanted):
            raise InputError(
                f"Row {wanted[max(wanted)]} is to learn from {max(wanted)} sessions but {name} has training trials in "
                f"{n_there}; ask for {n_there} or fewer."
            )


def _heldout_for(plan):
    """The held-out split of a plan that leaves it open, and a sentence on why it is this."""
    if plan.split:
        return "", f"No held-out split: {plan.split} is tested; --heldout clusters:N adds one."
    if plan.folds:
        return "", "No held-out split: folds test every stimulus; --heldout clusters:N adds one."
    roi = next((values["roi"] for values in plan.methods.values() if "roi" in values), None)
    return rule_for(load(plan.data, subject=plan.subjects[0], roi=next(iter(plan.rois), roi), **plan.options))


def region_folder(roi):
    """What the folder of a region is called.

    >>> region_folder("V1 + V2")
    'V1_+_V2'
    """
    return re.sub(r"[^\w.+-]+", "_", roi)
