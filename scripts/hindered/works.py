"""Every verb that writes, as a piece of work: what has to be there before it, and the line that is typed."""

from dataclasses import dataclass
from pathlib import Path

FEW = "--sessions 2 --trials-per-session 30 --shared 5 --voxels 160"
TINY = "--weights tiny --set generator.num_inference_steps=2"
# Equal to the byte whatever is drawn together with it.
ALONE = "--reproducible"


@dataclass(frozen=True)
class Work:
    """One command.

    Attributes
    ----------
    name : str
        The verb.
    line : str
        What is typed behind ``brainrecon``; ``{data}`` is a valid cohort, ``{weights}`` a published checkpoint as it is
        downloaded, ``{disk}`` the one folder that is written to.
    before : tuple of str
        Lines that have been typed in that folder before.
    """

    name: str
    line: str
    before: tuple[str, ...] = ()

    def words(self, line, place):
        """A line with the folders of a place."""
        return [part.format(data=place.data, weights=place.weights, disk=place.disk) for part in line.split()]


@dataclass(frozen=True)
class Place:
    """Folders below a root.

    Attributes
    ----------
    root : pathlib.Path
    """

    root: Path

    @property
    def data(self):
        """A cohort."""
        return self.root / "nsd"

    @property
    def weights(self):
        """Published checkpoints."""
        return self.root / "published" / "weights"

    @property
    def disk(self):
        """What is written to, and hindered."""
        return self.root / "disk"


_IN_RUN = "{disk}/run --features {disk}/features"
_FIT = f"fit brain-diffuser nsd:{{data}} {TINY} --out {_IN_RUN}"
_RECONSTRUCT = f"reconstruct {_IN_RUN} {ALONE}"
_EVALUATE = f"evaluate {_IN_RUN}"
_PULL = "weights pull vdvae-imagenet64 --from {weights}"
_RUN = f"run ridge-to-pixels nsd:{{data}} --out {_IN_RUN}"
_BENCHMARK = (
    "benchmark nsd:{data} --methods mean-image,ridge-to-pixels --controls none --heldout none "
    f"--features {{disk}}/features --out {{disk}}/bench {ALONE}"
)

WORKS = {
    work.name: work
    for work in (
        Work("simulate", f"simulate {{disk}}/made {FEW}"),
        Work("data prepare", "data prepare nsd:{data} --out {disk}/out"),
        Work("features", "features nsd:{data} --store {disk}/features --weights tiny --targets clip_image"),
        Work("fit", _FIT),
        Work("predict", "predict {disk}/run --out {disk}/values.safetensors --features {disk}/features", (_FIT,)),
        Work("reconstruct", _RECONSTRUCT, (_FIT,)),
        Work("evaluate", _EVALUATE, (_FIT, _RECONSTRUCT)),
        Work("report", f"report {_IN_RUN}", (_FIT, _RECONSTRUCT, _EVALUATE)),
        Work("run", _RUN),
        Work("benchmark", _BENCHMARK),
        Work("weights pull", _PULL),
    )
}
