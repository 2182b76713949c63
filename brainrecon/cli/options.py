"""Arguments and options that several verbs share, defined once so that they cannot drift apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
TrainingStimuli = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Learn from N of its training stimuli, drawn by the seed; of those before a new subject, from all.",
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
        help="Voxels of your own, the region 'mask': a NIfTI, CIFTI or .npy, in the subject's space or one value for each voxel; "
        "used alone unless --roi says otherwise.",
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
