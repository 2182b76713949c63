"""Where everything lies in a run folder.

config.toml            what was asked, every default spelled out
environment.json       versions, machine, checkpoint fingerprints
captions.json          captions of the training stimuli, if the dataset had none
decoder/               the fitted steps; a step with a part of its own in decoder/<part>/
embeddings/test.safetensors   predicted values of the test stimuli; of other steps test-<part or value>.safetensors
stage_one/stim-<id>.png       first pictures, and other values on the way in folders of their name
images/stim-<id>_sample-<k>.png       pictures; captions/ and films/ likewise; ids as `weights.names.file_name` writes them
controls/<name>/images/stim-<id>_sample-<k>.png
folds/<k>/             a run folder each, if there are folds
splits/<name>/         a run folder each, of further splits that are tested beside; the decoder is that of the run above
subjects/<name>/       a run folder each, of other subjects that were learned from together; the decoder is that of the run above
pretraining/           a run folder, of the subjects that the method was fitted on before a new one
new/<name>/            pictures of patterns from a file <name>, in images/ (captions/, films/), with patterns.json
shuffled/              a run folder with folds, in which each stimulus has the responses to another, if a fold tests but one
manifest.jsonl         a line for each file written
scores/<protocol>.csv, .json
report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brainrecon.assembly.condition import RECONSTRUCTION
from stages.ground.media import CAPTION, FEATURES, FILM, PICTURE, Medium
from weights.names import file_name

# Medium of an output -> what it is, and the folder it lies in.
MEDIA: dict[str, tuple[Medium, str]] = {
    medium.name: (medium, folder)
    for medium, folder in ((PICTURE, "images"), (CAPTION, "captions"), (FILM, "films"), (FEATURES, "features"))
}
FIT_LOCK = ".fit.lock"
"""Held by the process that fits a run."""
# Values on the way whose folder has another name than the value.
_FOLDERS = {"first_picture": "stage_one"}


@dataclass(frozen=True)
class Layout:
    """The places of one run folder.

    >>> Layout(Path("run")).split("imagery").as_posix()
    'run/splits/imagery'
    >>> Layout(Path("/run/splits/imagery"), shared_decoder=True).decoder.as_posix()
    '/run/decoder'

    Attributes
    ----------
    folder : Path
    shared_decoder : bool
        Whether it is that of a split tested beside another, whose decoder is that of the run in whose folder it lies.
    """

    folder: Path
    shared_decoder: bool = False

    @property
    def config(self) -> Path:
        """What was asked."""
        return self.folder / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions and fingerprints."""
        return self.folder / "environment.json"

    @property
    def captions(self) -> Path:
        """Captions that were chosen."""
        return self.folder / "captions.json"

    @property
    def decoder(self) -> Path:
        """The fitted steps."""
        return (self.above if self.shared_decoder else self.folder) / "decoder"

    @property
    def manifest(self) -> Path:
        """A line for each file."""
        return self.folder / "manifest.jsonl"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def embeddings(self, of: str, part: str = "") -> Path:
        """Predicted values of the test stimuli ("test") or of the mean response; `part` as the step is kept (`Step.kept_as`)."""
        return self.folder / "embeddings" / f"{of}{'-' if part else ''}{part}.safetensors"

    def fold(self, fold: int) -> Path:
        """Run folder of a fold."""
        return self.folder / "folds" / str(fold)

    def split(self, name: str) -> Path:
        """Run folder of a split that is tested beside the run's own."""
        return self.folder / "splits" / name

    def subject(self, name: str) -> Path:
        """Run folder of another subject that was learned from together with the run's own."""
        return self.folder / "subjects" / name

    @property
    def pretraining(self) -> Path:
        """Run folder of the subjects before a new one."""
        return self.folder / "pretraining"

    @property
    def above(self) -> Path:
        """Of the run folder of a split or another subject, that of the run it lies in; of its fold, that of the same fold."""
        folder = self.folder.absolute()
        if folder.parent.name == "folds":
            return folder.parents[3] / "folds" / folder.name
        return folder.parents[1]

    @property
    def shuffled(self) -> Path:
        """Run folder of the same folds, fitted to responses that were shuffled among all stimuli."""
        return self.folder / "shuffled"

    def new(self, name: str) -> Path:
        """Where pictures of new patterns go, by the name of their file without its ending."""
        return self.folder / "new" / name

    def scores(self, protocol: str) -> Path:
        """Scores under a protocol, as JSON; the table beside it ends in .csv."""
        return self.folder / "scores" / f"{protocol}.json"

    def output(self, condition: str, medium: str, stimulus_id: str, sample: int = 0) -> Path:
        """An output under a condition."""
        kind, folder = MEDIA[medium]
        return self._root(condition) / folder / f"stim-{file_name(stimulus_id)}_sample-{sample}{kind.suffix}"

    def on_the_way(self, value: str, medium: str, source: str, condition: str = RECONSTRUCTION) -> Path:
        """A value on the way, by whose it is."""
        return self._root(condition) / _FOLDERS.get(value, value) / f"stim-{file_name(source)}{MEDIA[medium][0].suffix}"

    def _root(self, condition: str) -> Path:
        return self.folder if condition == RECONSTRUCTION else self.folder / "controls" / condition
