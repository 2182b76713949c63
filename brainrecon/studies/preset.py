"""Presets of benchmarks: the rows of a published comparison as methods, with what was published beside them.

A preset is data, a TOML file in `presets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, merged, with_weights
from brainrecon.runs.config import read_toml, with_settings
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
        Kinds of data that the comparison is of; "arrays" may be a copy of them.
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
    """

    name: str
    description: str
    source: str
    kinds: tuple[str, ...]
    methods: dict[str, dict]
    same_scores: tuple[str, ...] = ()
    plan: dict = field(default_factory=dict)
    published: dict[str, dict] = field(default_factory=dict)
    published_weights: dict[str, dict] = field(default_factory=dict)
    published_training: dict[str, dict] = field(default_factory=dict)
    tiny: dict[str, dict] = field(default_factory=dict)
    regions: dict[str, dict] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

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
