"""The Algonauts challenge of 2023 (Gifford et al. 2023): NSD on fsaverage, a response for each picture.

FOLDER/
  subj01/training_split/training_fmri/
    {lh,rh}_training_fmri.npy                       (pictures, vertices) float32, z-scored within sessions, averaged over repeats
  subj01/training_split/training_images/
    train-0001_nsd-00013.png, ...                   row 1 of the responses is picture 13 of NSD, counted from 0
  subj01/roi_masks/
    {lh,rh}.all-vertices_fsaverage_space.npy        (vertices of fsaverage) not 0 where there are responses    optional
    {lh,rh}.prf-visualrois_challenge_space.npy      (vertices) labels; floc-*, streams alike                   optional
    mapping_prf-visualrois.json                     {"1": "V1v", ...}, in the place of NSD's own names         optional
  subj01/test_split/test_images/
    test-0001_nsd-00845.png, ...                    pictures without responses                                 optional
  subj01/test_split/test_fmri/, noise_ceiling/
    {lh,rh}_test_fmri.npy, {lh,rh}_noise_ceiling.npy    which the challenge held back                          optional

The release's own ``mapping_*.npy`` are pickles, which could run any code: they are not opened, as NSD's names are known.
"""

from __future__ import annotations

from hashlib import sha256
from os import PathLike
from pathlib import Path

import numpy as np

from brainrecon.datasets.algonauts2023.layout import ATLASES, Layout, choose, pictures_of, subjects_at
from brainrecon.datasets.algonauts2023.regions import read_regions, read_vertices
from brainrecon.datasets.algonauts2023.responses import AGAIN, mapped_responses
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.flat_maps import surface_note, surface_places
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.nsd import rois as nsd_rois
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.responses import stored_responses
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from brainrecon.datasets.voxels import ALL, MASK
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.numpy_files import read_npy

DESCRIPTION = Description(
    measured="the Natural Scenes Dataset as a challenge packed it: 8 people, visual cortex on fsaverage, one response for each "
    "picture of all but each person's last three sessions",
    available="algonautsproject.com, by the challenge's form; the NSD Terms and Conditions hold",
    citation="Gifford et al. 2023, arXiv:2301.03198, doi 10.48550/arXiv.2301.03198; Allen et al. 2022, Nature Neuroscience "
    "25:116-126, doi 10.1038/s41593-021-00962-x",
    licence="NSD Terms and Conditions; the photographs are COCO's, under their own licences",
    pictures="photographs",
)
ONE_IN = 10
TESTS = ("held-out", "challenge")


def subjects(path):
    """Names of the subjects found, sorted: ``subj01``, ..."""
    return list(subjects_at(path))


def load(path, subject=None, roi=None, test=None, one_in=ONE_IN, design=None, flat=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder that holds ``subj01`` and others, or the folder of one subject.
    subject : str, optional
        ``subj01``; by default the first that is there.
    roi : str, optional
        ``V1``, ``FFA``, ``lh.EBA``, ``streams:ventral``, joined as in `brainrecon.datasets.voxels`; by default all vertices.
    test : {"held-out", "challenge"}, optional
        Which pictures are tested: some of the training split, or the test split, whose responses were held back; by default the
        latter if they are there.
    one_in : int
        Of so many training pictures one is held out, always the same ones, whoever saw them: by a hash of the picture's id.
    design : path, optional
        NSD's ``nsd_expdesign.mat``: held out are the pictures that it shows to every subject, as NSD's own test pictures are.
    flat : path, optional
        A folder with a flat map of each hemisphere; by default nilearn's if it has one of the same mesh.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each vertex that has a response, the left hemisphere's first.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Responses and pictures stay on disk until they are asked for. A stimulus is called by NSD's number, ``nsd00013``.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    check("one_in", one_in, Number(2, whole=True, example=ONE_IN), "--option {name}={example}")
    check("test", test, OneOf(None, *TESTS), "--option {name}=held-out")
    if design is not None and test == "challenge":
        raise InputError(
            f"design ({design}) holds out training pictures, but test=challenge was given; leave one of them out."
        )
    name, layout = choose(path, subject)
    responses, n_left = mapped_responses(layout.responses("training"))
    pictures = pictures_of(layout.pictures("training"), "train", len(responses))
    n_vertices = responses.shape[1]
    vertices = read_vertices(layout, (n_left, n_vertices - n_left))
    regions = read_regions(layout, (n_left, n_vertices - n_left))
    if mask is not None:
        own = mask.in_columns(n_vertices).astype(np.int16)
        regions |= {MASK: nsd_rois.Region(MASK, Path(mask.name), own)}
    chosen = nsd_rois.select(regions, roi or ALL, f"{name} below {path}")

    has_test = any(file.is_file() for file in layout.responses("test"))
    is_challenge = test == "challenge" or (test is None and has_test and design is None)
    notes = [
        "responses are z-scored within sessions, over all trials of a session, and averaged over the trials of a picture",
        "no captions; names of regions are NSD's own, as mapping_*.npy are pickles and are not opened",
    ]
    ceiling = None
    if is_challenge:
        rows = np.ones(len(pictures), dtype=bool)
        beside, n_test_left = mapped_responses(layout.responses("test"))
        if (n_test_left, beside.shape[1]) != (n_left, n_vertices):
            raise InputError(
                f"{layout.responses('test')} have {n_test_left:,} and {beside.shape[1] - n_test_left:,} vertices but the other "
                f"files {n_left:,} and {n_vertices - n_left:,}; take both of one subject."
            )
        shown = pictures_of(layout.pictures("test"), "test", len(beside))
        tested = _split(beside, chosen, shown, np.ones(len(shown), dtype=bool), layout.responses("test"))
        notes.append("tested are the challenge's own test pictures")
        ceiling = _noise_ceiling(layout, n_vertices, chosen, notes)
    else:
        held_out, how = _held_out(pictures, one_in, design)
        if not held_out.any() or held_out.all():
            raise InputError(
                f"{held_out.sum():,} of {len(pictures):,} training pictures of {name} are held out ({how}); hold out others, "
                "--option one_in=3, or test each picture once, --folds 10."
            )
        rows = ~held_out
        tested = _split(responses, chosen, pictures, held_out, layout.responses("training"))
        notes.append(
            f"tested are {held_out.sum():,} of {len(pictures):,} training pictures, {how}: nobody learns from them"
        )
        waiting = pictures_of(layout.pictures("test"), "test", None)
        if waiting:
            notes.append(
                f"{len(waiting):,} test pictures of the challenge are not used: their responses were not released"
            )
        notes.append("no noise ceiling: there is one response for each picture")
    splits = {"train": _split(responses, chosen, pictures, rows, layout.responses("training")), "test": tested}
    if vertices is None:
        places = None
        notes.append(f"nobody says where the vertices are: {layout.vertices} are absent")
    else:
        on_surface, sizes = vertices
        where = on_surface.copy()
        where[where] = chosen
        places = surface_places(name, "fsaverage", where, sizes, flat)
        notes.append(surface_note(places))
    return Subject(
        name=name,
        dataset="algonauts2023",
        source=f"algonauts2023:{path}",
        splits=splits,
        roi=roi or ALL,
        rois={label: inside for label, region in regions.items() if (inside := region.within(chosen)).any()},
        noise_ceiling=ceiling,
        fingerprint=stimulus_fingerprint("algonauts2023", splits),
        notes=notes,
        details={
            "betas": "b3 (betas_fithrf_GLMdenoise_RR), averaged over repeats",
            "space": "fsaverage",
            "units": "z-scores within sessions",
            "test": "challenge" if is_challenge else how,
        },
        space=places,
    )


def _split(responses, chosen, pictures, rows, where):
    """The split of some rows of responses, of some vertices."""
    shown = [one for one, wanted in zip(pictures, rows) if wanted]
    wanted = responses if chosen.all() else responses.columns(chosen)
    return Split(
        betas=stored_responses(wanted.take(np.flatnonzero(rows)), where, standardized="session", remedy=AGAIN),
        trial_stimulus_ids=[one.stimulus_id for one in shown],
        images=PictureFiles([one.path for one in shown], mend=AGAIN),
    )


def _held_out(pictures, one_in, design):
    """Which pictures are tested, bool (n_pictures,), and how they were chosen, a phrase."""
    if design is None:
        numbers = [int(sha256(one.stimulus_id.encode()).hexdigest()[:15], 16) for one in pictures]
        return np.array([number % one_in == 0 for number in numbers]), f"one in {one_in} by a hash of its id"
    if not isinstance(design, str | PathLike):
        raise InputError(f"design is {design!r}; expected the path of nsd_expdesign.mat.")
    order = nsd_design.read_design(Path(design).expanduser())
    shared = {nsd_design.stimulus_id(number - 1) for number in order.subjectim[0, : order.n_shared].tolist()}
    return np.array([one.stimulus_id in shared for one in pictures]), "those that NSD showed to every subject"


def _noise_ceiling(layout, n_vertices, chosen, notes):
    """The challenge's noise ceiling in percent, float32 (n_chosen,); None if it is not there."""
    if not all(file.is_file() for file in layout.noise_ceiling):
        notes.append(f"no noise ceiling: {layout.noise_ceiling} are absent")
        return None
    values = np.concatenate([read_npy(file, remedy=AGAIN).reshape(-1) for file in layout.noise_ceiling])
    if values.shape != (n_vertices,) or values.dtype.kind != "f" or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"{layout.noise_ceiling} hold {values.dtype} {values.shape}; expected a share of variance from 0 to 1 for each of "
            f"{n_vertices:,} vertices: {AGAIN}."
        )
    return (100 * values[chosen]).astype(np.float32)


def files(path, subject=None):
    """The files of one subject."""
    path = Path(path)
    if subjects_at(path):
        _, layout = choose(path, subject)
    else:
        layout = Layout(path / subject_name(subject or "subj01"))
    rows = [(file, "responses to the training pictures", False) for file in layout.responses("training")]
    there = visible(layout.pictures("training"), "*.png") or [layout.pictures("training") / "train-0001_nsd-00013.png"]
    rows.append((there[0], "the training pictures, the first of them", False))
    rows += [(file, "which vertices of fsaverage have responses", True) for file in layout.vertices]
    for atlas in ATLASES:
        rows += [(file, "regions", True) for file in layout.atlas(atlas)]
        rows.append((layout.names(atlas), "names of regions, if they are not NSD's", True))
    there = visible(layout.pictures("test"), "*.png") or [layout.pictures("test") / "test-0001_nsd-00845.png"]
    rows.append((there[0], "pictures without responses, the first of them", True))
    rows += [(file, "responses that the challenge held back", True) for file in layout.responses("test")]
    rows += [(file, "their noise ceiling", True) for file in layout.noise_ceiling]
    return [ExpectedFile(*row) for row in rows]


register(
    "algonauts2023",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option(
                "test", "held-out or challenge: some training pictures, or the test split if you have its responses"
            ),
            Option("one_in", f"of so many training pictures one is held out, by a hash of its id; by default {ONE_IN}"),
            Option("design", "path of NSD's nsd_expdesign.mat: hold out the pictures that every subject saw"),
            Option("flat", "a folder with a flat map of each hemisphere; by default nilearn's of the same mesh"),
            OWN_MASK,
        ),
    ),
)
