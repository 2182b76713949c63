"""Arguments and options that several verbs share, defined once so that they cannot drift apart."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Annotated

import typer

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


def _methods(incomplete: str) -> list[str]:
    """For the shell's completion: names of methods that begin so."""
    from brainrecon.assembly.registry import system_names

    return [name for name in system_names() if name.startswith(incomplete)]


def _protocols(incomplete: str) -> list[str]:
    """For the shell's completion: names of the toolkit's protocols that begin so."""
    # Their files are looked at in place: the module that reads them takes seconds to import, and a shell waits.
    files = (Path(__file__).parents[1] / "evaluation" / "protocols").glob("*.toml")
    return sorted(file.stem for file in files if file.stem.startswith(incomplete))


def _families(incomplete: str) -> list[str]:
    return [name for name in ("published", "tiny") if name.startswith(incomplete)]


Method = Annotated[
    str | None,
    typer.Argument(
        metavar="METHOD",
        help="Name of a method, for example brain-diffuser; `brainrecon methods` lists them.",
        show_default="the method in the file of --config",
        autocompletion=_methods,
    ),
]
Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="KIND:PATH, for example nsd:/data/nsd.",
        show_default="the data in the file of --config",
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Run folder to make or continue.")]
SubjectName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A subject, for example subj01.", show_default="the first that is there"),
]
Subjects = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Subjects to learn from together, for example subj02,subj05; each is tested, unless --new-subject names another.",
        show_default="the one subject",
    ),
]
NewSubject = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A subject to add when those of --subjects have been learned from: it is tested.",
        show_default="none",
    ),
]
Sessions = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Learn from its first N training sessions.", show_default="all"),
]
Hours = Annotated[
    float | None,
    typer.Option(
        metavar="H",
        min=0,
        help="The same in hours of scanning, of data that say how long a session is.",
        show_default="all",
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        metavar="FROM",
        help="With --new-subject: the run in which --subjects were learned from. Or, for a subject of your own, a checkpoint in "
        "which the authors released what they had learned from several.",
        show_default="pretraining/ in the run's folder, made now",
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        metavar="REGION", help="Voxels to use, for example nsdgeneral or V1.", show_default="the dataset's own choice"
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Voxels of your own, the region 'mask': a NIfTI or .npy, in the subject's space or one value for each voxel; used "
        "alone unless --roi says otherwise.",
        show_default="none",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="TOML file of settings; options on the line win over it.", show_default="no file"
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set one setting, for example generator.strength=0.5; may be repeated.",
        show_default="every setting as `brainrecon methods METHOD` shows it",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FAMILY",
        autocompletion=_families,
        help="published, or tiny: the embedded networks wherever a checkpoint has a small twin.",
        show_default="the checkpoints that the method's settings name",
    ),
]
Decoder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FROM",
        help="Take a decoder instead of fitting one: 'released' for what the method's authors released for the subject, a "
        "checkpoint of one (again for each part of the method), or the folder of a run.",
        show_default="it is fitted",
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed of all noise.", show_default="0")]
Samples = Annotated[int | None, typer.Option(metavar="N", help="Pictures to draw for each stimulus.", show_default="1")]
SamplesOfRun = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Pictures to draw for each stimulus.", show_default="as many as the run was asked for"
    ),
]
Folds = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Test every stimulus once, in so many folds; 'stimuli' leaves out one stimulus at a time.",
        show_default="the dataset's own test stimuli",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT",
        help="Stimuli to test instead of the dataset's own: category:NAME, clusters:N, ids:FILE, or another split by its name.",
        show_default="the dataset's own test stimuli",
    ),
]
Beside = Annotated[
    str | None,
    typer.Option(
        metavar="SPLITS",
        help="Further splits of the data to test beside that, with the same decoder: names such as imagery,shapes, or all.",
        show_default="none",
    ),
]
LoaderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the data's loader, for example betas=b2 or zscore=true; may be repeated.",
        show_default="the loader's own defaults",
    ),
]
Captions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="JSON file: stimulus id to list of captions.", show_default="the dataset's own captions"
    ),
]
CaptionChoices = Annotated[
    str | None,
    typer.Option(
        metavar="TEXTS",
        help="Without captions: let CLIP choose among these, separated by '|'.",
        show_default="the dataset's own choices, if it has some",
    ),
]
Features = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the feature store.",
        show_default="$BRAINRECON_FEATURES, or a folder of the user's cache",
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", help="auto (the best that there is), cpu, cuda, cuda:1, mps.", show_default="auto"),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What fitting the decoder may take, for example 4GB.",
        show_default="as much as it likes",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Pictures drawn together.",
        show_default="as many as fit, up to 16 on a CPU and 64 elsewhere",
    ),
]
Stimuli = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Test stimuli to draw, separated by commas.", show_default="all"),
]
NewPatterns = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Patterns of your own, (n_stimuli, n_voxels): .npy, .npz, .safetensors, .csv.",
        show_default="the run's test patterns",
    ),
]
Plan = Annotated[
    bool,
    typer.Option(
        "--plan", help="Only say what it takes here in time, memory and disk; nothing is computed or written."
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="TOML file of a cluster, SLURM by submitit or Dask, whose workers do the work (docs/guide/cluster.md).",
        show_default="this process does the work",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Draw the I-th of N parts (I from 0), for job arrays.",
        show_default="all; under `accelerate launch` each process its part",
    ),
]
Reproducible = Annotated[
    bool, typer.Option(help="Equal bytes whatever is drawn together, on one machine with as many threads (slower).")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="PROTOCOL",
        autocompletion=_protocols,
        help="Named way to score, or a TOML file of one.",
        show_default="the method's own if published networks draw photographs, else brainrecon-1",
    ),
]


def controls(default):
    """The option ``--controls`` of a verb that draws `default` without it."""
    return Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="'all', 'essential', 'none', or names separated by commas, for example shuffled_responses,mean_response.",
            show_default=default,
        ),
    ]


def control_stimuli(default="all"):
    """The option ``--control-stimuli`` of a verb that draws controls for `default` without it."""
    return Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, help="Draw controls for so many stimuli only, evenly spread.", show_default=default
        ),
    ]


def run_config(
    method,
    data,
    config=None,
    assignments=None,
    *,
    subject=None,
    roi=None,
    seed=None,
    samples=None,
    folds=None,
    split=None,
    beside=None,
    loader=None,
    captions=None,
    caption_choices=None,
    weights=None,
    mask=None,
    decoder=None,
    subjects=None,
    new_subject=None,
    sessions=None,
    hours=None,
    pretrained=None,
):
    """Resolve a TOML file, `--set` assignments and options into a RunConfig; later ones win."""
    from brainrecon.runs.config import RunConfig, assign, read_toml, with_settings
    from brainrecon.runs.released_pretraining import is_checkpoint

    values = with_settings(copy.deepcopy(read_toml(config)) if config else {})
    for assignment in assignments or ():
        name = assignment.lstrip().partition("=")[0].partition(".")[0].strip()
        assign(values if name in (*values, "data", "splits") else values["settings"], assignment)
    if not isinstance(values.setdefault("data", {}), dict):
        raise InputError(f"data is {values['data']!r}; expected a table: write data.source = 'KIND:PATH'.")
    if None not in (subject, new_subject):
        raise InputError(f"Both --subject {subject} and --new-subject {new_subject} are given; leave one out.")
    options = {
        "source": data,
        "subject": subject if new_subject is None else new_subject,
        "subjects": parse_names(subjects),
        "roi": roi,
        "folds": parse_folds(folds),
        "split": parse_split(split),
        "beside": parse_names(beside),
        "captions": str(captions.resolve()) if captions else None,
        "caption_choices": [choice.strip() for choice in caption_choices.split("|")] if caption_choices else None,
    }
    values["data"] |= {name: value for name, value in options.items() if value is not None}
    if more := loader_options(loader, mask):
        values["data"]["options"] = values["data"].get("options", {}) | more
    top = {"method": method, "seed": seed, "samples": samples, "decoder_from": decoder or None}
    top["pretrained"] = pretrained
    values |= {name: value for name, value in top.items() if value is not None}
    if "method" not in values or "source" not in values["data"]:
        raise InputError(
            "A method and data are needed; type for example `brainrecon run brain-diffuser nsd:DIR --out RUN`."
        )
    if (count := parse_sessions(sessions, hours, values["data"]["source"])) is not None:
        values["data"]["sessions"] = count
    config = RunConfig.from_dict(values, weights)
    if new_subject is not None and not (config.data.is_of_new_subject or is_checkpoint(config.pretrained)):
        known = ", ".join(config.data.subjects or ()) or "nobody"
        raise InputError(
            f"{new_subject} is to be new but --subjects names {known}; name the others that come before, or pass --subject "
            f"{new_subject} to learn from it alone."
        )
    return config


def loader_options(assignments, mask=None):
    """Dictionary of `--option NAME=VALUE`, values in TOML's notation or bare words, and of `--mask`, its path made absolute."""
    from brainrecon.runs.config import assign, with_absolute_mask

    values = {}
    for assignment in assignments or ():
        assign(values, assignment, "--option")
    return with_absolute_mask(values | ({"mask": str(mask)} if mask else {}))


def parse_split(split):
    """A split's rule from an option's value, the path of a file of ids made absolute; None if it is not given."""
    return f"ids:{Path(split[4:]).resolve()}" if split and split.startswith("ids:") and split[4:] else split


def with_beside(config, beside):
    """A run's configuration with what ``--beside`` names tested beside; as it is if it is not given."""
    from dataclasses import replace

    if beside is None:
        return config
    named = tuple(dict.fromkeys((*(config.data.beside or ()), *parse_names(beside))))
    return replace(config, data=replace(config.data, beside=named))


def torch_device(name):
    """Torch device for an option's value, see `stages.ground.devices.chosen_device`."""
    from stages.ground.devices import chosen_device

    return chosen_device(name)


def parse_memory(text):
    """Bytes of a size such as "4GB" or "500 MB", or None."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(MB|GB)\s*", text, re.IGNORECASE)
    if not found or not float(found[1]):
        raise InputError(f"--memory got {text!r}; expected a number with MB or GB, for example --memory 4GB.")
    return float(found[1]) * {"MB": 1e6, "GB": 1e9}[found[2].upper()]


def parse_shard(text):
    """(i, n) of "i/n"; this process's own part under `accelerate launch`, else everything, if it is not given."""
    if text is None:
        from accelerate import PartialState

        state = PartialState()
        return state.process_index, state.num_processes
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise InputError(f"--shard got {text!r}; expected I/N with I from 0 to N-1, for example --shard 0/4.")
    return int(part), int(parts)


def parse_conditions(text, default="none"):
    """Names of controls from an option's value."""
    from brainrecon.assembly.condition import CONTROLS, ESSENTIAL_CONTROLS

    text = text if text is not None else default
    groups = {"none": (), "essential": ESSENTIAL_CONTROLS, "all": CONTROLS}
    if text in groups:
        return groups[text]
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in CONTROLS]
    if unknown:
        raise InputError(
            f"There is no control {unknown[0]!r}; expected 'all', 'essential', 'none', or some of {', '.join(CONTROLS)}"
            f"{did_you_mean(unknown[0], CONTROLS)}."
        )
    return names


def parse_sessions(sessions, hours, source):
    """A number of sessions from ``--sessions`` or ``--hours``; None if neither is given."""
    if hours is None:
        return sessions
    if sessions is not None:
        raise InputError(f"Both --sessions {sessions} and --hours {hours} are given; leave one out.")
    from brainrecon.datasets import dataset_of, parse_source

    kind, _ = parse_source(source)
    length = dataset_of(kind).description.hours_of_session
    if not length:
        raise InputError(
            f"--hours {hours} is asked for but data of kind {kind} do not say how long a session is; pass --sessions N."
        )
    if (count := hours / length) < 1 or count != int(count):
        raise InputError(
            f"--hours {hours} is {count:g} sessions of {length:g} hours; expected whole sessions: pass --hours {length:g}."
        )
    return int(count)


def parse_folds(text):
    """Number of folds from an option's value, or the word as it is; None if it is not given."""
    return int(text) if text is not None and re.fullmatch(r"-?\d+", str(text)) else text


def parse_names(text):
    """List of names from a comma-separated option, or None."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(
            "An option that takes names got none; write them separated by commas, or leave the option out."
        )
    return names
