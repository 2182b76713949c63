"""Presets of benchmarks: the rows of a published comparison as methods, with what was published beside them.

A preset is data, a TOML file in `presets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, merged, with_weights
from brainrecon.datasets import load
from brainrecon.datasets.cohort import there_of
from brainrecon.datasets.fewer_trials import n_sessions
from brainrecon.runs.config import read_toml, with_settings
from brainrecon.studies.row_data import by_sessions
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

_FOLDER = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class Comparison:
    """Pairs of rows, the better one first as the study has it, and what is claimed of them."""

    claim: str
    pairs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Preset:
    """A published comparison.

    Attributes
    ----------
    name, description : str
    source : str
        Who published the values, on what data, and how they are known.
    kinds : tuple of str
        Kinds of data that the comparison is of; "arrays" may be a copy of them. Empty: any.
    methods : dict of str to dict
        Settings of each row, nested, with ``method`` its name here; in the order of the table.
    same_scores : tuple of str
        Further protocols than the plan's that score the same, so that the published values stand beside theirs too.
    plan : dict
        What else the benchmark's plan has, as `brainrecon.studies.plan.Plan` takes it: rois, protocols, controls, heldout.
    published : dict of str to (dict of str to float)
        By row and metric of the preset's protocol, percentages as fractions; rows without a published value are absent.
    published_weights : dict of str to (dict of str to float)
        By row and name of what it learnt.
    published_training : dict of str to (dict of str to float)
        By row and metric, on the pictures that it was trained on.
    tiny : dict of str to dict
        By method settings for the embedded networks, where the method's own do not suit the comparison; a row's settings
        come first.
    regions : dict of str to (dict of str to str)
        By kind of data and row the voxels that this row is given, by default those of the row's name; rows that are in none
        of them have the voxels of the plan.
    comparisons : tuple of Comparison
    sessions : tuple of int
        Of a comparison that has no methods of its own: each method that is asked for learns from so many of the tested
        subject's sessions, as far as there are so many, see `brainrecon.studies.row_data.by_sessions`.
    """

    name: str
    description: str
    source: str
    kinds: tuple[str, ...] = ()
    methods: dict[str, dict] = field(default_factory=dict)
    same_scores: tuple[str, ...] = ()
    plan: dict = field(default_factory=dict)
    published: dict[str, dict] = field(default_factory=dict)
    published_weights: dict[str, dict] = field(default_factory=dict)
    published_training: dict[str, dict] = field(default_factory=dict)
    tiny: dict[str, dict] = field(default_factory=dict)
    regions: dict[str, dict] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    sessions: tuple[int, ...] = ()

    def __post_init__(self):
        tables = (self.published, self.published_weights, self.published_training, *self.regions.values())
        named = [name for table in tables for name in table]
        named += [name for one in self.comparisons for pair in one.pairs for name in pair]
        if strangers := [name for name in named if name not in self.methods]:
            raise InputError(
                f"Preset {self.name} says something of {strangers[0]!r} but has the rows {', '.join(self.methods)}; "
                "mend the name there."
            )

    def rows(self, kind, weights=None):
        """Settings of every row, for one kind of data. A row that names a region also gets `roi`.

        If data of this kind call the region otherwise, or do not have it, loading them says so.
        """
        own = {name: name for regions in self.regions.values() for name in regions} | self.regions.get(kind, {})
        rows = {}
        for name, values in self.methods.items():
            row = with_settings(values)
            small = self.tiny.get(row["method"], {}) if weights == "tiny" else {}
            row["settings"] = with_weights(merged(small, row["settings"]), system_class(row["method"]), weights)
            rows[name] = row | ({"roi": own[name]} if name in own else {})
        return rows


def available():
    """Names of the presets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_preset(name):
    """A preset by its name; an InputError that lists them if there is none."""
    if name not in available():
        meant = did_you_mean(name, available())
        raise InputError(f"There is no preset {name!r}; expected one of {', '.join(available())}{meant}.")
    return from_dict(Preset, read_toml(_FOLDER / f"{name}.toml"))


def with_preset(name, data, methods, rest, there=None, weights=None, sessions=None):
    """What is asked for, completed by a preset.

    Parameters
    ----------
    name : str
    data : str or None
        ``kind:path``.
    methods : dict of str to dict, or None
        Asked for beside the preset's rows; or, if it has sessions, as rows of these.
    rest : dict
        As `make_plan` takes it; None for what is not asked.
    there : brainrecon.studies.plan.Plan, optional
        The plan as it is; it keeps what it has.
    weights : {"published", "tiny"}, optional
        As for `brainrecon.assembly.settings.with_weights`; of the preset's rows.
    sessions : sequence of int, optional
        In place of those of the preset.

    Returns
    -------
    methods, rest

    Raises
    ------
    InputError
        Data of a kind that the comparison is not of, or a method that is called like a row.
    """
    preset = load_preset(name)
    kind = (data or "").partition(":")[0]
    if data is not None and preset.kinds and kind not in preset.kinds:
        raise InputError(
            f"Preset {name} is of {' or '.join(preset.kinds)} data, not {kind}; leave --preset out for these."
        )
    if taken := [label for label in methods or () if label in preset.methods]:
        raise InputError(f"Preset {name} has a row {taken[0]!r} of its own; call your method, or its file, otherwise.")
    asked = {key: value for key, value in rest.items() if value is not None}
    if sessions and not preset.sessions:
        raise InputError(f"Preset {name} has no rows by sessions; leave --sessions and --hours out.")
    rows = preset.rows(kind, weights)
    if preset.sessions:
        tested = asked.get("subjects") or (there.subjects if there else None)
        options = asked.get("options") or (there.options if there else {})
        counts = sessions or (_sessions_there(preset.sessions, data, tested, options) if methods else ())
        rows, methods = by_sessions(methods or {}, counts), None
    if there is not None and there.preset == name and weights is None:
        # As they were planned, which may have been with other weights.
        rows = {label: there.methods.get(label, values) for label, values in rows.items()}
    return rows | (methods or {}), (preset.plan if there is None else {}) | asked | {"preset": name}


def _sessions_there(sessions, data, subjects, options):
    """Those of some numbers of sessions that every tested subject has."""
    counts = {name: n_sessions(load(data, subject=name, **options)) for name in there_of(data, subjects)}
    fewest = min(counts, key=counts.get)
    if not counts[fewest]:
        raise InputError(f"{fewest} at {data} does not say in which session a trial was; leave --preset few-hours out.")
    return [count for count in sessions if count <= counts[fewest]]
