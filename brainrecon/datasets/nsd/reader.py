"""The Natural Scenes Dataset as it is on disk (Allen et al. 2022), and simulated cohorts in its files.

Nothing about the original's size is typed in: subjects, sessions, trials per session, shared pictures and
volumes are what the files say. The test split holds the pictures shown to every subject.
"""

from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.flat_maps import surface_note, surface_places
from brainrecon.datasets.nsd import betas as nsd_betas
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.nsd import layout as nsd_layout
from brainrecon.datasets.nsd import rois as nsd_rois
from brainrecon.datasets.nsd.agreement import check_volumes, read_noise_ceiling
from brainrecon.datasets.nsd.further.experiments import chosen_experiments
from brainrecon.datasets.nsd.further.reading import check_options, read_further
from brainrecon.datasets.nsd.hemispheres import check_both, n_vertices
from brainrecon.datasets.nsd.listing import TERMS, download, files
from brainrecon.datasets.nsd.sessions import chosen_sessions, in_words, session_note
from brainrecon.datasets.nsd.splits import make_split, training_rows, without_pictures
from brainrecon.datasets.nsd.standard_regions import read_standard_regions
from brainrecon.datasets.nsd.stimuli import Stimuli
from brainrecon.datasets.nsd.surface_regions import CORTEX, FINITE, finite_region, read_surface_regions
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from brainrecon.datasets.voxels import MASK
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from stages.ground.reading.nifti_files import open_nifti

DESCRIPTION = Description(
    measured="8 people saw 9,209 to 10,000 photographs each, most of them three times, over 30 to 40 sessions of 7 T fMRI",
    available="naturalscenesdataset.org, bucket natural-scenes-dataset, after its access form; not to be passed on",
    citation="Allen et al. 2022, Nature Neuroscience 25:116-126, doi 10.1038/s41593-021-00962-x",
    licence="NSD Terms and Conditions; the photographs are COCO's, under their own licences",
    pictures="photographs",
    hours_of_session=1.0,
)
DEFAULT_ROI = "nsdgeneral"
SIMULATED = "simulated: a forward model made the responses; its V1 to hV4 see the picture, its higher areas "
TOLD = "are also told what the picture shows (thing, background, colour, digit, place)"
UNTOLD = "know no labels of photographs and carry only what early vision passes on"


def subjects(path):
    """Names of the subjects that have betas below `path`, sorted."""
    return nsd_layout.subjects_on_disk(nsd_layout.Layout(path))


def load(
    path,
    subject=None,
    roi=None,
    betas=None,
    space=None,
    betas_format=None,
    zscore=False,
    sessions=None,
    pictures=True,
    mask=None,
    flat=None,
    also=None,
    also_scale="training",
    luminance="matched",
):
    """Load one NSD subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder that holds ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli``.
    subject : str, optional
        ``subj01``; by default the first on disk.
    roi : str, optional
        See `brainrecon.datasets.nsd.rois.select`; by default ``nsdgeneral``.
    betas : str, optional
        ``b1``, ``b2`` or ``b3`` (betas_assumehrf, betas_fithrf, betas_fithrf_GLMdenoise_RR); by default the
        best on disk.
    space : str, optional
        A volume, ``func1pt8mm`` or ``func1mm``, a surface, ``fsaverage`` or ``nativesurface``, or the standard volume ``MNI``;
        by default the first of these on disk.
    betas_format : str, optional
        ``hdf5`` or ``nifti``; by default HDF5 if a session has it. A surface has one format, ``mgh`` or ``hdf5``.
    zscore : bool
        Z-score each voxel within each session, by mean and standard deviation over the session's training trials, so
        that nothing of the test pictures enters.
    sessions : str, int, list of int, optional
        Which sessions, as `brainrecon.datasets.nsd.sessions.read_sessions` takes them: ``1-37`` is what was released before
        2023. By default all that are on disk.
    pictures : bool
        False to do without pictures, though they may be there.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: (x, y, z), or a value for each voxel of ``nsdgeneral``.
    flat : path, optional
        A folder with a flat map of each hemisphere, of a surface; by default nilearn's if it has one of the same mesh.
    also : str or list of str, optional
        Further experiments, ``synthetic``, ``imagery``, both separated by a comma, or ``all`` that are there: splits of their own
        beside train and test, see `brainrecon.datasets.nsd.further.reading`. By default none.
    also_scale : {"training", "session", "run"}
        By whose statistics their responses are brought to the scale of the training trials, see
        `brainrecon.datasets.nsd.further.responses`.
    luminance : {"matched", "stored"}
        Whether pictures of synthetic are as bright as they were on the screen, as values of the core's pictures, or as stored.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Voxels in C order of the (x, y, z) volume, whatever the format; on a surface the vertices of the left hemisphere, then
        of the right. Betas are percent signal change, or
        z-scores, read session by session when asked for. ``noise_ceiling`` is that of the test patterns.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    for name, value in {"zscore": zscore, "pictures": pictures}.items():
        check(name, value, OneOf(True, False), "--option {name}={example}")
    check_options(also_scale, luminance)
    layout = nsd_layout.Layout(path)
    subject = nsd_layout.choose_subject(layout, subject)
    space = nsd_layout.choose_space(layout, subject, space)
    version = nsd_layout.choose_version(layout, subject, space, betas)
    there = nsd_layout.sessions_on_disk(layout, subject, space, version, betas_format)
    files = chosen_sessions(there, sessions, layout.betas(subject, space, version))
    further_files = chosen_experiments(layout, subject, space, version, betas_format, also)
    on_surface, in_standard = space in nsd_layout.SURFACES, space == nsd_layout.STANDARD
    design = nsd_design.read_design(layout.design)

    if on_surface:
        check_both(files)
        sizes, affine = n_vertices(next(iter(files.values()))), None
        regions, medial_wall = read_surface_regions(layout, nsd_layout.label_owner(subject, space), sizes)
    elif in_standard:
        regions, affine, reached = read_standard_regions(layout, subject, version, files)
    else:
        regions = nsd_rois.read_rois(layout, subject, space)
        affine = open_nifti(next(iter(regions.values())).path).affine
    trials_in_file = check_volumes(files, regions)
    if space == "fsaverage":
        regions[FINITE] = finite_region(files, sizes[0])
    if mask is not None:
        whole = regions.get(DEFAULT_ROI, next(iter(regions.values())))
        volume = mask.in_volume(whole.mask, affine).astype(np.int16)
        regions |= {MASK: nsd_rois.Region(MASK, Path(mask.name), volume)}
    if roi is None and in_standard and DEFAULT_ROI not in regions:
        raise InputError(
            f"NSD has no regions in {space}, and {layout.rois(subject, space)} holds no {DEFAULT_ROI}.nii.gz; give a mask on the "
            "grid of the betas, --mask FILE, put regions there, or take all voxels that hold betas, --roi valid."
        )
    roi = roi or (CORTEX if on_surface and DEFAULT_ROI not in regions else DEFAULT_ROI)
    chosen = nsd_rois.select(regions, roi, f"{subject} below {path}")

    trials = nsd_design.trial_table(design, subject, trials_in_file, layout.responses(subject))
    stimuli = Stimuli(layout, trials["picture"], pictures)
    reference = training_rows(trials, layout, subject) if zscore else None
    scale = 1 if space == "fsaverage" else nsd_betas.SCALE
    store = nsd_betas.SessionStore(files, chosen, reference, scale=scale)
    splits = {}
    for name, wanted in {"train": ~trials["shared"], "test": trials["shared"]}.items():
        if not wanted.any():
            raise InputError(
                f"The {len(files)} sessions found of {subject} hold no {name} trial; "
                f"add more of its sessions to {layout.betas(subject, space, version)}."
            )
        splits[name] = make_split(store, trials[wanted], stimuli)

    fingerprint, train_fingerprint = stimulus_fingerprint("nsd", splits, **stimuli.facts), ""
    core = store
    if further_files and also_scale != "training" and not zscore:
        core = store.referring_to(training_rows(trials, layout, subject))
    further = read_further(
        layout, subject, further_files, core, splits["train"].images, pictures, zscore, also_scale, luminance
    )
    if further.splits:
        # What was computed of the training pictures stays valid.
        train_fingerprint, bare = fingerprint, {name: without_pictures(split) for name, split in further.splits.items()}
        fingerprint = stimulus_fingerprint("nsd", bare, core=fingerprint, **further.facts)
        splits |= further.splits

    simulated = layout.marker.is_file()
    ceiling = read_noise_ceiling(layout.ncsnr(subject, space, version), chosen, splits["test"].repeats)
    notes = [simulation_note(layout.marker)] if simulated else []
    notes += [session_note(there, design)]
    notes += [f"sessions {in_words(files)} are used, as was asked"] if sessions is not None else []
    notes += [*stimuli.notes, *further.notes]
    if ceiling is None:
        notes.append(f"no noise ceiling: {layout.ncsnr(subject, space, version)} is absent")
    places = {}
    notes += [reached] if in_standard else []
    if on_surface:
        places = surface_places(subject, space, chosen, sizes, flat)
        notes += [medial_wall, surface_note(places)]
    else:
        places = VoxelGrid.of_mask(chosen, affine)
    # As of arrays: it may be asked for, and is no area.
    within = {name: region.within(chosen) for name, region in regions.items() if name != FINITE}
    return Subject(
        name=subject,
        dataset="nsd",
        source=f"nsd:{path}",
        splits=splits,
        roi=roi,
        rois={name: voxels for name, voxels in within.items() if voxels.any()},
        noise_ceiling=ceiling,
        fingerprint=fingerprint,
        train_fingerprint=train_fingerprint,
        notes=notes,
        simulated=simulated,
        pictures="drawn pictures" if simulated and not shows_photographs(layout.marker) else "photographs",
        details={
            "betas": nsd_layout.BETAS_VERSIONS[version],
            "space": space,
            "units": "z-scores within sessions" if zscore else "percent signal change",
            "sessions": list(files),
            "n_trials": len(trials),
        }
        | ({"also": ", ".join(further_files), "also_scale": also_scale} if further.splits else {}),
        space=places,
    )


def simulation_note(marker):
    """What a reader must know of a simulated cohort, given its marker file."""
    return SIMULATED + (UNTOLD if shows_photographs(marker) else TOLD)


def shows_photographs(marker):
    """Whether the pictures of a simulated cohort are somebody's photographs, given its marker file."""
    options = read_json(marker, dict, "simulate the cohort again").get("options", {})
    return isinstance(options, dict) and "photographs" in options


OPTIONS = (
    Option("betas", "b1, b2 or b3; by default the best on disk", for_files=True),
    Option(
        "space",
        "func1pt8mm, func1mm, a surface (fsaverage, nativesurface), or MNI; by default the first of these on disk",
        for_files=True,
    ),
    Option(
        "format",
        "hdf5 or nifti of a volume; by default HDF5 if a session has it",
        for_files=True,
        keyword="betas_format",
    ),
    Option("flat", "of a surface: a folder with a flat map of each hemisphere; by default nilearn's of the same mesh"),
    Option("sessions", "such as 1-37 or 1,2,5-8; by default all that are there", for_files=True),
    Option("pictures", "false: without the pictures, which are 40 GB; by default true", for_files=True),
    OWN_MASK,
    Option(
        "also",
        "further experiments as splits of their own: synthetic, imagery, both separated by a comma, or all; by default none",
        for_files=True,
    ),
    Option(
        "also_scale",
        "training, or by statistics of what is tested: session, run; how their responses are brought to the core's scale; by "
        "default training",
    ),
    Option("luminance", "of synthetic's pictures: matched to the core's screen, or as stored; by default matched"),
    Option("zscore", "true: z-score voxels within sessions, by training trials; by default false"),
)
register("nsd", DatasetOf(DESCRIPTION, subjects, load, files, OPTIONS, download, TERMS))
