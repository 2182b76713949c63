"""Random and figure checker patterns of 10 x 10 cells, and what they did in visual cortex (Miyawaki et al. 2008).

Three copies are read, told apart by what lies at the path:

    a folder with func, label and mask   as nilearn's fetch_miyawaki2008 makes it, see `miyawaki_nilearn`
    a .h5 file, or a folder of them      BData of the Kamitani laboratory's cookbook, see `miyawaki_bdata`
    a .mat file                          BData too, or else voxels x trials and 100 x trials, see `miyawaki_mat`

Random patterns train, figures test. A stimulus is its pattern: trials of equal patterns are its repeats, and its
id spells its cells, so a pattern that were both trained and tested on would be refused.
"""

from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.miyawaki import bdata as miyawaki_bdata
from brainrecon.datasets.miyawaki import mat as miyawaki_mat
from brainrecon.datasets.miyawaki import nilearn as miyawaki_nilearn
from brainrecon.datasets.miyawaki.recording import pattern_ids
from brainrecon.datasets.own_mask import OWN_MASK, chosen_voxels
from brainrecon.datasets.responses import ResponsesOf
from brainrecon.datasets.split import Split, check_finite, first_presentation_order
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured=(
        "fMRI of 1 person's visual cortex while binary checker patterns of 10 x 10 cells were shown: 20 runs of "
        "random patterns to train on, 12 runs of figures (shapes and letters) to test on"
    ),
    available=(
        "nilearn.datasets.fetch_miyawaki2008 downloads runs, patterns and regions from nitrc.org (153 MB, no form); "
        "the Kamitani laboratory's brain-decoding-cookbook works on a BData copy of one subject"
    ),
    citation=(
        "Miyawaki et al. (2008), Visual image reconstruction from human brain activity using a combination of "
        "multiscale local image decoders, Neuron 60:915-929, doi:10.1016/j.neuron.2008.11.004"
    ),
    licence="unknown, as nilearn's description of the data says",
    pictures="drawn pictures",
)

SUBJECT = "subj01"
WHOLE = "all"
SIMULATED = (
    "simulated: a forward model of local contrast in V1 to V3 made the responses; use it to see that a method works, "
    "not how well it works"
)
OPTIONS = {
    miyawaki_nilearn: ("detrend", "shift"),
    miyawaki_bdata: (),
    miyawaki_mat: ("responses", "patterns", "test_trials"),
}
"""Reader of a layout -> the options that it takes."""


def subjects(path):
    """The one subject."""
    return [SUBJECT]


def load(
    path,
    subject=None,
    roi=None,
    detrend=None,
    shift=None,
    responses=None,
    patterns=None,
    test_trials=None,
    mask=None,
):
    """Load the patterns and the responses to them.

    Parameters
    ----------
    path : pathlib.Path
        A folder of nilearn's, a BData file or folder, or a MATLAB file.
    subject : str, optional
        Only ``subj01`` is there.
    roi : str, optional
        A region that the files name ("LHV1d"), both hemispheres of it ("V1d"), its two halves together ("V1"),
        or several, joined by "+" and "-" ("V1+V2", "all-V1"); by default "all" voxels.
    detrend : bool, optional
        nilearn's folder only: take a straight line out of each voxel in each run; by default True.
    shift : int, optional
        nilearn's folder only: by how many volumes responses lag behind the patterns; by default 2.
    responses, patterns, test_trials : optional
        A MATLAB file only: which variables, and which trials test, see `miyawaki_mat.read`.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel, or a volume; a MATLAB file does not say where its voxels are.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Responses are in memory, float32, in the units of the files. Pictures are upright, uint8
        (n, 10, 10, 3), 0 or 255. Categories are the kinds of figure where the file tells them (BData). There
        are no captions and no noise ceiling.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other; an option belongs to another copy.
    """
    path = Path(path)
    if subject not in (None, SUBJECT):
        raise InputError(f"miyawaki data hold one subject, {SUBJECT}, not {subject}; leave the subject out.")
    place, reader = _layout(path)
    if not path.exists():
        raise InputError(f"There is no {path}; give a folder of nilearn's fetch_miyawaki2008, a .h5 or a .mat file.")
    given = dict(detrend=detrend, shift=shift, responses=responses, patterns=patterns, test_trials=test_trials)
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in OPTIONS[reader]:
            raise InputError(
                f"'{name}' does nothing for {path}, which takes {', '.join(OPTIONS[reader]) or 'no such option'}; leave it out."
            )
    recording = reader.read(place, **given)
    n_voxels = recording.responses.shape[1]
    chosen, rois = chosen_voxels(path, recording.regions, roi, n_voxels, WHOLE, mask, **recording.places)
    values = recording.responses if chosen.all() else recording.responses[:, chosen]
    check_finite(values, str(path))
    trials = {"train": ~recording.test, "test": recording.test}
    for name, own in trials.items():
        if not own.any():
            raise InputError(f"{path} has {len(values):,} trials with a pattern but none to {name} on; {reader.BOTH}.")
    splits = {name: _split(recording, values, own) for name, own in trials.items()}
    simulated = reader is miyawaki_bdata and miyawaki_bdata.is_simulated(place)
    return Subject(
        name=SUBJECT,
        dataset="miyawaki",
        source=f"miyawaki:{path}",
        splits=splits,
        roi=roi or WHOLE,
        rois=rois,
        fingerprint=stimulus_fingerprint("miyawaki", splits),
        notes=[
            *([SIMULATED] if simulated else []),
            "no captions and no noise ceiling in this dataset",
            *recording.notes,
        ],
        simulated=simulated,
        details=recording.details,
        space=space.columns(chosen) if (space := recording.places.get("space")) else None,
    )


def files(path, subject=None):
    """The files of the copy at `path`, or of nilearn's if nothing is there."""
    place, reader = _layout(Path(path))
    return reader.files(place)


def _layout(path):
    """Where the copy lies, and the module that reads it."""
    if path.suffix == ".mat":
        return path, miyawaki_bdata if miyawaki_bdata.is_bdata(path) else miyawaki_mat
    if path.suffix in (".h5", ".hdf5") or visible(path, "*.h5"):
        return path, miyawaki_bdata
    if path.is_file():
        raise InputError(f"{path} is neither a .h5 nor a .mat file; give one of these or a folder of nilearn's.")
    # nilearn's own data folder holds the data set's.
    nested = path / "miyawaki2008"
    return nested if nested.is_dir() else path, miyawaki_nilearn


def _split(recording, responses, chosen):
    patterns = recording.patterns[chosen]
    trial_ids = pattern_ids(patterns)
    ids, positions = first_presentation_order(trial_ids)
    _, first = np.unique(positions, return_index=True)
    runs, sessions, kinds = (
        None if values is None else values[chosen] for values in (recording.runs, recording.sessions, recording.kinds)
    )
    return Split(
        betas=ResponsesOf(responses[chosen]),
        trial_stimulus_ids=trial_ids,
        sessions=sessions,
        runs=runs,
        images=np.repeat(patterns[first][..., None] * np.uint8(255), 3, axis=-1),
        categories=None if kinds is None else [np.unique(kinds[positions == k]).tolist() for k in range(len(ids))],
    )


register(
    "miyawaki",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("detrend", "nilearn's folder: false leaves the drift of each run in; by default true"),
            Option("shift", "nilearn's folder: volumes by which responses lag behind the patterns; by default 2"),
            Option("responses", "MATLAB: name of the variable of responses, or two as train,test"),
            Option("patterns", "MATLAB: name of the variable of patterns, or two as train,test"),
            Option("test_trials", "MATLAB: numbers of the test trials from 1, such as 3-5"),
            OWN_MASK,
        ),
    ),
)
