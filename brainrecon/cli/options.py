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
    typer.Argument(help="Name of a method, for example brain-diffuser.", show_default=False, autocompletion=_methods),
]
Data = Annotated[str | None, typer.Argument(help="KIND:PATH, for example nsd:/data/nsd.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Run folder to make or continue.", show_default=False)]
SubjectName = Annotated[str | None, typer.Option(help="For example subj01; a dataset with one subject needs none.")]
Roi = Annotated[str | None, typer.Option(help="Voxels to use, for example nsdgeneral or V1.")]
Mask = Annotated[
    Path | None,
    typer.Option(
        help="Voxels of your own, the region 'mask': a NIfTI or .npy, in the subject's space or one value for each voxel; used "
        "alone unless --roi says otherwise."
    ),
]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings; options on the line win over it.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set one setting, e.g. generator.strength=0.5.")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FAMILY",
        autocompletion=_families,
        help="published, or tiny: the embedded networks wherever a checkpoint has a small twin.",
    ),
]
Decoder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FROM",
        help="Take a decoder instead of fitting one: 'released' for what the method's authors released for the subject, a "
        "checkpoint of one (again for each part of the method), or the folder of a run.",
        show_default=False,
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of all noise; 0 unless told otherwise.")]
Samples = Annotated[int | None, typer.Option(help="Pictures to draw for each stimulus; 1 unless told otherwise.")]
Folds = Annotated[
    str | None,
    typer.Option(
        metavar="N", help="Test every stimulus once, in so many folds; 'stimuli' leaves out one stimulus at a time."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Stimuli to test instead of the dataset's own: category:NAME, clusters:N, ids:FILE, or another split by its name."
    ),
]
LoaderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="NAME=VALUE", help="An option of the data's loader, e.g. betas=b2 or zscore=true."
    ),
]
Captions = Annotated[Path | None, typer.Option(help="JSON file: stimulus id to list of captions.")]
CaptionChoices = Annotated[
    str | None, typer.Option(help="Without captions: let CLIP choose among these, separated by '|'.")
]
Features = Annotated[
    Path | None, typer.Option(help="Folder of the feature store; $BRAINRECON_FEATURES or the user's cache by default.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What fitting the decoder may take, e.g. 4GB; as much as it likes by default."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Pictures drawn together; as many as fit, up to 16, by default.", show_default=False),
]
Stimuli = Annotated[str | None, typer.Option(help="Test stimuli to draw, separated by commas; all by default.")]
NewPatterns = Annotated[
    Path | None,
    typer.Option(
        help="Patterns of one's own instead of the run's test patterns, (n_stimuli, n_voxels): .npy, .npz, .safetensors, .csv.",
        show_default=False,
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
        show_default=False,
    ),
]
Shard = Annotated[str | None, typer.Option(metavar="I/N", help="Draw the I-th of N parts (I from 0), for job arrays.")]
Reproducible = Annotated[
    bool, typer.Option(help="Equal bytes whatever is drawn together, on one machine with as many threads (slower).")
]
Controls = Annotated[
    str | None,
    typer.Option(
        help="'all', 'essential', 'none', or names separated by commas, e.g. shuffled_responses,mean_response."
    ),
]
ControlStimuli = Annotated[
    int | None, typer.Option(min=2, help="Draw controls for so many stimuli only, evenly spread.")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        autocompletion=_protocols,
        help="Named way to score, or a TOML file of one; a published one by default where published networks draw photographs.",
        show_default=False,
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
    loader=None,
    captions=None,
    caption_choices=None,
    weights=None,
    mask=None,
    decoder=None,
):
    """Resolve a TOML file, `--set` assignments and options into a RunConfig; later ones win."""
    from brainrecon.assembly.registry import system_class
    from brainrecon.assembly.settings import with_weights
    from brainrecon.runs.config import RunConfig, assign, read_toml, with_settings

    values = with_settings(copy.deepcopy(read_toml(config)) if config else {})
    for assignment in assignments or ():
        name = assignment.lstrip().partition("=")[0].partition(".")[0].strip()
        assign(values if name in (*values, "data") else values["settings"], assignment)
    if not isinstance(values.setdefault("data", {}), dict):
        raise InputError(f"data is {values['data']!r}; expected a table: write data.source = 'KIND:PATH'.")
    options = {
        "source": data,
        "subject": subject,
        "roi": roi,
        "folds": parse_folds(folds),
        "split": parse_split(split),
        "captions": str(captions.resolve()) if captions else None,
        "caption_choices": [choice.strip() for choice in caption_choices.split("|")] if caption_choices else None,
    }
    values["data"] |= {name: value for name, value in options.items() if value is not None}
    if more := loader_options(loader, mask):
        values["data"]["options"] = values["data"].get("options", {}) | more
    top = {"method": method, "seed": seed, "samples": samples, "decoder_from": decoder or None}
    values |= {name: value for name, value in top.items() if value is not None}
    if "method" not in values or "source" not in values["data"]:
        raise InputError(
            "A method and data are needed; type for example `brainrecon run brain-diffuser nsd:DIR --out RUN`."
        )
    values["settings"] = with_weights(values["settings"], system_class(values["method"]), weights)
    return RunConfig.from_dict(values)


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
