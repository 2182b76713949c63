"""What a run was asked to do: complete, resolved, in TOML."""

from __future__ import annotations

import ast
import json
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import tomli_w

from brainrecon import __version__
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import from_dict, to_dict, with_weights
from brainrecon.datasets import parse_source
from brainrecon.runs.cohort import check_subjects, with_tested_subject
from brainrecon.runs.released_pretraining import is_checkpoint
from brainrecon.runs.split_settings import split_settings
from stages.ground.errors import InputError
from stages.ground.reading import json_files
from weights.whole_files import write_text

LEAVE_ONE_OUT = "stimuli"
MASK_FILE = "data.options.mask"
OF_A_ROW = ("roi", "sessions", "others")
"""What a row of a benchmark says of its own data, beside the settings of its method, see `brainrecon.studies.row_data`."""
# What a configuration has besides the settings of its method.
_RESERVED = ("method", "data", "seed", "samples", *OF_A_ROW, "decoder_from", "splits", "shared_decoder", "pretrained")


@dataclass(frozen=True)
class DataSettings:
    """The responses of a run, and where they come from.

    >>> DataSettings("nsd:/data/nsd", subject="subj01", folds=10).folds
    10

    Attributes
    ----------
    source : str
        `kind:path`; the path is made absolute, so that a run can be continued from any folder.
    subject, roi : str, optional
        As `brainrecon.load` takes them.
    folds : int or "stimuli"
        0 for the dataset's own split; otherwise every stimulus is tested once, in so many folds. "stimuli" is as many folds
        as there are stimuli: each is left out once. A run settles it to their number.
    fold : int, optional
        Which fold (from 0) this folder holds.
    split : str, optional
        Which stimuli to test instead of the dataset's own: ``category:NAME`` or ``clusters:N``, see
        `brainrecon.runs.splitting`.
    beside : tuple of str, optional
        Further splits of the dataset, such as imagery, that are tested beside that one with the same decoder, see
        `brainrecon.runs.beside`; "all" is every one. A run settles it to their names.
    split_checkpoint : str, optional
        CLIP checkpoint by whose embeddings clusters are made; the method's own if it is not given.
    captions : str, optional
        A JSON file of stimulus id to list of captions, in place of the dataset's own.
    caption_choices : tuple of str, optional
        If there are no captions: each stimulus gets the one of these that the CLIP model finds closest.
    options : dict
        Further options of the dataset's loader.
    subjects : tuple of str, optional
        Who is learned from together, if that is not `subject` alone. If `subject` is none of them it is a new one: the method is
        fitted on these first, and then on it, see `brainrecon.runs.cohort`.
    sessions : int, optional
        How many of its first training sessions are learned from; all if it is not given.
    stimuli : int, optional
        How many of its training stimuli are learned from, in those sessions, drawn with the run's seed; all if it is not given.
    apart_from : str, optional
        Of a run in which subjects are learned from before a new one: who that is. No stimulus that it is tested on is learned
        from.
    shuffled : bool
        Give each stimulus the responses to another one, in training and test: a control, see
        `brainrecon.datasets.shuffled`.
    """

    source: str
    subject: str | None = None
    roi: str | None = None
    folds: int | str = 0
    fold: int | None = None
    split: str | None = None
    beside: tuple[str, ...] | None = None
    split_checkpoint: str | None = None
    captions: str | None = None
    caption_choices: tuple[str, ...] | None = None
    options: dict[str, str | int | float | bool | list] = field(default_factory=dict)
    subjects: tuple[str, ...] | None = None
    sessions: int | None = None
    stimuli: int | None = None
    apart_from: str | None = None
    shuffled: bool = False

    @property
    def is_of_new_subject(self):
        """Whether the method is fitted on other subjects first."""
        return bool(self.subjects) and self.subject not in self.subjects

    @property
    def is_of_several(self):
        """Whether several subjects are learned from together."""
        return bool(self.subjects) and self.subject in self.subjects


@dataclass(frozen=True)
class RunConfig:
    """A method, its settings, its data, and the seed of all noise.

    >>> config = RunConfig.from_dict(
    ...     {"method": "ridge-to-pixels", "data": {"source": "nsd:/data/nsd"}, "settings": {"size": 32}}
    ... )
    >>> config.settings.size, config.seed, config.samples
    (32, 0, 1)

    `decoder_from` names decoders that are taken instead of fitted, as `brainrecon.runs.decoder_from` has them. `splits` is by
    split what a split tested beside another draws with in place of the settings. The run of such a split has no decoder of its
    own, `shared_decoder`: it reads that of the run in whose folder it lies. `pretrained` is the folder of the run in which the
    method was fitted on the subjects before a new one, in the folder of this one if it is not given; or a checkpoint in which its
    authors released what they had learned from several.

    In a file the settings of the method are a table of their own::

        method = "brain-diffuser"
        seed = 0
        samples = 1
        [data]
        source = "nsd:/data/nsd"
        [settings.generator]
        strength = 0.75
        [splits.imagery.settings.generator]
        strength = 0.5
    """

    method: str
    data: DataSettings
    settings: object
    seed: int = 0
    samples: int = 1
    decoder_from: tuple[str, ...] = ()
    splits: dict[str, dict] = field(default_factory=dict)
    shared_decoder: bool = False
    pretrained: str | None = None

    def __post_init__(self):
        check_subjects(self)
        if self.samples < 1:
            raise InputError(f"samples is {self.samples}; expected 1 or more: pass --samples 1.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more: pass --seed 0.")
        check_folds(self.data.folds)
        if self.data.folds and self.data.split:
            raise InputError(
                f"Both folds ({self.data.folds}) and split ({self.data.split!r}) are given; leave one out."
            )
        if self.data.folds and self.data.beside:
            raise InputError(
                f"Each of {self.data.folds} folds has a decoder of its own, and {', '.join(self.data.beside)} is tested by one; "
                "leave --folds or --beside out."
            )

    @classmethod
    def from_dict(cls, values, weights=None):
        """Build from a nested dictionary, see `with_settings` for the settings of the method.

        Parameters
        ----------
        values : dict
        weights : {"published", "tiny"}, optional
            "tiny" takes the embedded networks wherever a checkpoint has a small twin.

        Raises
        ------
        InputError
            A name or a value is unknown, or the method or its data are missing.
        """
        values = with_settings(values)
        if "method" not in values or "data" not in values:
            raise InputError("A run needs a method and data; type `brainrecon run METHOD KIND:PATH --out RUN`.")
        if beside := [name for name in OF_A_ROW if name in values]:
            name = {"others": "subjects"}.get(beside[0], beside[0])
            raise InputError(
                f"{beside[0]} = {values[beside[0]]!r} stands beside the method; write it into the table of the data, as "
                f"data.{name}."
            )
        data = from_dict(DataSettings, values["data"], "data")
        # A file that names no kind is told as that file.
        parse_source(data.source)
        data = replace(data, source=absolute_source(data.source), options=with_absolute_mask(data.options))
        data = with_tested_subject(data)
        more = from_dict(_More, {name: values[name] for name in _MORE if name in values})
        kind = system_class(values["method"])
        settings = from_dict(kind.settings_class, with_weights(values["settings"], kind, weights))
        splits = split_settings(more.splits, settings, kind)
        pretrained = more.pretrained
        if pretrained and not is_checkpoint(pretrained):
            pretrained = os.path.abspath(os.path.expanduser(pretrained))
        return cls(
            values["method"],
            data,
            settings,
            more.seed,
            more.samples,
            more.decoder_from,
            splits,
            more.shared_decoder,
            pretrained,
        )

    @property
    def system(self):
        """The system at these settings."""
        return system_class(self.method)(self.settings)

    @property
    def checkpoints_taken(self):
        """Those of `decoder_from` that are checkpoints, and not runs."""
        return tuple(name for name in self.decoder_from if not Path(name).is_absolute())

    def remarks(self):
        """What the settings leave out for want of data, and what was not fitted, a sentence each."""
        lost = self.system.without_captions
        is_without = bool(lost) and all(getattr(self.settings, name) == value for name, value in lost.items())
        return ([self.system.without_captions_note] if is_without else []) + self.about_choice() + self.about_decoder()

    def about_choice(self):
        """That outputs were chosen by the pictures that were shown, in a sentence; nothing if they were not."""
        if not self.system.chooses_by_shown:
            return []
        return [
            f"What {self.method} drew was chosen by the pictures that were shown: scores, also of controls, do not measure what "
            "was decoded."
        ]

    def about_decoder(self):
        """Where the decoder was taken from, in a sentence; nothing if it was fitted."""
        if not self.decoder_from:
            return []
        if taken := self.checkpoints_taken:
            return [f"Decoder: released by its authors for {self.data.subject}, not trained here ({', '.join(taken)})."]
        return [f"Decoder: taken from {self.decoder_from[0]}, not fitted here."]

    def to_dict(self):
        """Nested dictionary, every default spelled out."""
        head = {"method": self.method, "seed": self.seed, "samples": self.samples}
        head |= {"decoder_from": list(self.decoder_from)} if self.decoder_from else {}
        head |= {"shared_decoder": True} if self.shared_decoder else {}
        head |= {"pretrained": self.pretrained} if self.pretrained else {}
        splits = {name: {"settings": values} for name, values in self.splits.items()}
        whole = head | {"data": to_dict(self.data), "settings": to_dict(self.settings)}
        return whole | ({"splits": splits} if splits else {})

    @classmethod
    def read(cls, path):
        """Read a TOML file that `write` wrote, or one a user wrote."""
        values = read_toml(path)
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}{_of_another_version(path)}") from None

    def write(self, path):
        """Write TOML, whole or not at all; a file that says the same already is left alone."""
        text = tomli_w.dumps(self.to_dict())
        if not Path(path).is_file() or Path(path).read_bytes() != text.encode():
            write_text(path, text)


def _of_another_version(path):
    """That another version of the toolkit began the run of a configuration, as the end of a message; else nothing."""
    try:
        began = json.loads(Path(path).with_name("environment.json").read_bytes())["packages"]["brainrecon"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f" The run was begun by brainrecon {began} and this is {__version__}." if began != __version__ else ""


def check_folds(folds):
    """Raise an InputError for a number of folds that there cannot be, or another word than `LEAVE_ONE_OUT`."""
    if folds != LEAVE_ONE_OUT and (isinstance(folds, str) or folds < 0 or folds == 1):
        raise InputError(
            f"folds is {folds!r}; expected 0 for the dataset's own split, 2 or more, or {LEAVE_ONE_OUT} to leave out one "
            "stimulus at a time: pass --folds 10."
        )


def absolute_source(source):
    """``kind:path`` with an absolute path, so that a run can be continued from any folder."""
    kind, colon, path = source.partition(":")
    return f"{kind}:{os.path.abspath(os.path.expanduser(path))}" if colon else source


def with_absolute_mask(options):
    """Options of a loader in which the file of a mask has its whole path, for the same reason."""
    mask = options.get("mask")
    return options | {"mask": os.path.abspath(os.path.expanduser(mask))} if isinstance(mask, str) else options


def with_settings(values):
    """A copy of a configuration in which the settings of the method are the table `settings`.

    Files of earlier versions have them beside method, data, seed and samples; they are moved.

    Raises
    ------
    InputError
        Both are there, or `settings` is no table.
    """
    settings = values.get("settings", {})
    if not isinstance(settings, dict):
        raise InputError(f"settings is {settings!r}; expected a table: write [settings] with a line for each setting.")
    beside = {name: value for name, value in values.items() if name not in (*_RESERVED, "settings")}
    if beside and settings:
        raise InputError(
            f"{next(iter(beside))!r} stands beside the table settings, where {', '.join(_RESERVED)} may stand; write it into "
            "that table, as settings.NAME, or leave it out."
        )
    return {name: values[name] for name in _RESERVED if name in values} | {"settings": dict(settings) or beside}


@dataclass(frozen=True)
class _More:
    seed: int = 0
    samples: int = 1
    decoder_from: tuple[str, ...] = ()
    splits: dict[str, dict] = field(default_factory=dict)
    shared_decoder: bool = False
    pretrained: str | None = None


_MORE = ("seed", "samples", "decoder_from", "splits", "shared_decoder", "pretrained")


def read_toml(path):
    """Nested dictionary of a TOML file; an InputError that says where it does not parse."""
    if not Path(path).exists():
        raise InputError(
            f"There is no configuration file {path}; name a TOML file that is there, such as a config.toml."
        )
    return json_files.read_toml(path, "mend that line and run again")


def assign(values, assignment, option="--set"):
    """Set one dotted name in a nested dictionary from `name=value`, see `typed_value`."""
    name, equals, text = assignment.partition("=")
    if not equals or not name.strip():
        example = {"--set": "generator.strength=0.5", "--option": "betas=b2"}[option]
        raise InputError(f"{option} got {assignment!r}; expected NAME=VALUE, for example {option} {example}.")
    value = typed_value(text)
    *tables, last = name.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise InputError(f"{option} {name}: {table!r} is a value, not a table; set {table}=VALUE itself.")
    values[last] = value


def typed_value(text):
    """What a text on the command line stands for: in TOML's notation, in Python's, which messages print, or a bare word.

    >>> [typed_value(text) for text in ("true", "True", ".5", "(0, 10)", "b2")]
    [True, True, 0.5, [0, 10], 'b2']
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    value = list(value) if isinstance(value, tuple) else value
    return value if value is None or isinstance(value, bool | int | float | list) else text
