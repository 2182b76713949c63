"""Kinds of work that are killed: every verb that writes, and every kind of system."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from killed_runs import server
from killed_runs.materials import COHORT, RECORDING, data_of, needs_of, settings, typed

# Seconds between two checkpoints of a training, or notes of a fit: it is a minute otherwise.
OFTEN = 0.1
TRAINED = ("brain-diffuser", "icgan2022", "takagi2023", "mindeye2023", "shen2019-gan", "miyawaki2008")
# Batches of which a kill leaves several, so that pictures come to have others beside them; and all controls, of few stimuli.
ALONE = "--controls none --batch-size 2"
CONTROLS = "--controls all --control-stimuli 2 --reproducible"


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes
    ----------
    name : str
    line : str
        What is typed, with words of `killed_runs.materials.Materials` in braces.
    needs : tuple of str
        As `Materials.need` takes them.
    begins_with : str
        The folder among the materials of which the working folder is a copy at the beginning; it is empty without.
    is_exact : bool
        Whether pictures have to be equal to the byte; see `killed_runs.comparison`.
    do : callable
        ``do(line)`` does it; the exit code.
    """

    name: str
    line: str
    needs: tuple[str, ...] = ()
    begins_with: str = ""
    is_exact: bool = True
    do: Callable[[str], int] = typed

    def begin(self, folder, materials):
        """Make the working folder."""
        if self.begins_with:
            shutil.copytree(materials.folder / self.begins_with, folder, symlinks=True)
        else:
            folder.mkdir(parents=True)

    def work(self, materials):
        """The work, to be done in the working folder, by a process of its own."""
        line = self.line.format_map(materials.words)

        return partial(self.do, line)


def write_checkpoints_often():
    """Have trainings and fits of this process, and of its children, note ten times a second how far they are."""
    from brainrecon.assembly import resumable_ridge
    from stages.decoders.trained import TrainedDecoder
    from stages.training import adversarial

    TrainedDecoder.seconds_between_checkpoints = property(lambda self: OFTEN, lambda self, value: None)
    adversarial.train_generator = partial(adversarial.train_generator, seconds_between_checkpoints=OFTEN)
    notes = resumable_ridge.ResumeNotes
    began = notes.__init__
    notes.__init__ = lambda self, write, seconds: began(self, write, OFTEN)


def _pull_to_here(line):
    os.environ["BRAINRECON_WEIGHTS"] = os.path.abspath("weights")
    return typed(line)


def _pull_from_server(manifest):
    from weights.pull import pull

    os.environ["BRAINRECON_WEIGHTS"] = os.path.abspath("weights")
    pull(server.NAME, manifest=Path(manifest))
    return 0


def _line(system, more=""):
    """What follows "fit" or "run"."""
    return f"{system} {{{data_of(system)}}} {settings(system)} --out run --features features {more}"


def _fits():
    for system in TRAINED:
        yield Kind(f"fit {system}", f"fit {_line(system)}", needs_of(system))
    in_folds = _line("ridge-to-pixels", "--folds 3")
    yield Kind("fit ridge-to-pixels in folds", f"fit {in_folds}", needs_of("ridge-to-pixels"))


def _drawings():
    for system in (*TRAINED, "ridge-to-pixels", "nearest-training-caption"):
        for mode in ("", CONTROLS):
            yield Kind(
                f"reconstruct {system}" + (" --reproducible" if mode else ""),
                f"reconstruct run --features features {mode or ALONE}",
                (f"fitted {system}",),
                f"fitted/{system}",
                bool(mode),
            )
    yield Kind(
        "reconstruct brain-diffuser controls",
        "reconstruct run --controls all --batch-size 3 --features features",
        ("fitted brain-diffuser",),
        "fitted/brain-diffuser",
        False,
    )
    yield Kind(
        "reconstruct --betas",
        "reconstruct run --betas {here}/patterns.npz --features features --batch-size 2",
        ("fitted brain-diffuser", "patterns"),
        "fitted/brain-diffuser",
        False,
    )


def _runs():
    for system, more, name in (
        ("brain-diffuser", CONTROLS, "run brain-diffuser --reproducible"),
        ("brain-diffuser", "--batch-size 2", "run brain-diffuser"),
        ("ridge-to-pixels", "--reproducible --folds 3", "run ridge-to-pixels in folds"),
        ("ridge-to-pixels", CONTROLS, "run ridge-to-pixels"),
        ("mindeye2023", "--reproducible", "run mindeye2023"),
        ("shen2019-gan", "--reproducible --folds 2", "run shen2019-gan in folds"),
        ("miyawaki2008", CONTROLS, "run miyawaki2008"),
    ):
        yield Kind(name, f"run {_line(system, more)}", needs_of(system), is_exact="--reproducible" in more)
    beside = f"{settings('ridge-to-pixels')} --beside all --out run --features features {CONTROLS}"
    yield Kind("run ridge-to-pixels beside", f"run ridge-to-pixels god:{{here}}/god {beside}", ("imagined",))


def _looks():
    for verb, line, state, system in (
        ("evaluate", "evaluate run", "drawn", "brain-diffuser"),
        ("report", "report run --all-pictures", "scored", "brain-diffuser"),
        ("predict", "predict run --out values.csv", "fitted", "brain-diffuser"),
        ("map", "map run", "fitted", "brain-diffuser"),
        ("evaluate --controls", "evaluate run --controls all", "drawn", "ridge-to-pixels"),
    ):
        is_exact = "--controls" not in line
        yield Kind(verb, f"{line} --features features", (f"{state} {system}",), f"{state}/{system}", is_exact)


KINDS = (
    Kind("simulate", f"simulate out {COHORT} --subjects 2 --betas-format both"),
    Kind("simulate miyawaki", f"simulate out {RECORDING}"),
    Kind("data prepare", "data prepare {nsd} --out out", ("cohort",)),
    Kind("data prepare miyawaki", "data prepare {miyawaki} --out out", ("recording",)),
    Kind(
        "features",
        "features {nsd} --weights tiny --targets vdvae,clip_image,clip_text --store store --export values.npz",
        ("cohort",),
    ),
    *_fits(),
    *_drawings(),
    *_runs(),
    *_looks(),
    Kind(
        "benchmark",
        "benchmark nsd:{here}/subjects --methods ridge-to-pixels,noise --reproducible --heldout none --controls "
        "shuffled_responses --out table --features features",
        ("subjects",),
    ),
    Kind(
        "pull from a folder",
        "weights pull versatile-diffusion --from {here}/versatile-diffusion",
        ("published versatile-diffusion",),
        do=_pull_to_here,
    ),
    Kind("pull from a server", "{here}/served.toml", ("server",), do=_pull_from_server),
)
