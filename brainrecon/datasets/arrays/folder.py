"""A subject as plain arrays in a folder.

FOLDER/
  subject.json            name, dataset, roi, simulated, notes, pictures: "photographs" or "drawn pictures", and
                          standardized: "session" if betas were z-scored within sessions; every entry is optional, and so
                          is the file, without which the subject is subj01 of "arrays"
  noise_ceiling.npy       (n_voxels,) float, percent of variance            optional
  rois/<name>.npy         (n_voxels,) bool                                  optional
  atlases/<name>.npy      (n_voxels,) whole numbers, each label a region    optional
  atlases/<name>.tsv      what each label is called, columns index and name; or a .ctab      optional
  voxel_indices.npy       (n_voxels, 3) int, x, y, z of each voxel from 0; then subject.json has
                          grid: {"shape": [x, y, z], "affine": four rows of four numbers}     optional
  vertex_indices.npy      (n_voxels, 2) int, hemisphere, 0 left and 1 right, and vertex of each value on a surface, from 0; then
                          subject.json has surface: {"mesh": name, "n_vertices": [left, right]}     optional
  grayordinates.npy       (n_voxels, 4) int, structure of each value by number, and vertex, -1, -1 or the x, y, z of a voxel;
                          then subject.json has grayordinates: {"structures": names, "n_vertices": of each, 0 of voxels,
                          "volume": [x, y, z], "affine": four rows of four numbers, "mesh": name}     optional
  flat_places.npy         (n_voxels, 2) float, right and up on a flat map     optional
  sensor_indices.npy      (n_voxels, 2) int, channel and sample of each value, from 0; then subject.json has
                          sensors: {"channels": [names], "times": [seconds from onset]}     optional
  train/ and test/, and any further split:
    betas.npy             (n_trials, n_voxels) float, one row per trial, or
    patterns.npy          (n_stimuli, n_voxels) float, one row per stimulus, in the order of first presentation
    trials.csv            columns stimulus_id and, optionally, session and run; a row per trial
    images.npy            (n_stimuli, height, width, 3) uint8, in the order of first presentation, or
    images/<id>.png       a picture per stimulus, of one size unless image_size is given      optional
    captions.json         stimulus id -> list of captions                   optional
    categories.json       stimulus id -> list of categories                 optional
"""

import json

import numpy as np

from brainrecon.datasets.arrays.facts import absent_file, read_array, read_facts, read_json
from brainrecon.datasets.arrays.finite_voxels import LEFT_OUT, FiniteVoxels
from brainrecon.datasets.arrays.parts import (
    check_ids,
    check_voxels,
    choose_voxels,
    pictures_on_both_sides,
    rois_inside,
    train_first,
)
from brainrecon.datasets.captions import checked_captions
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.label_atlas import atlas_masks, read_label_names
from brainrecon.datasets.own_mask import as_mask
from brainrecon.datasets.responses import checked_standardized, stored_responses
from brainrecon.datasets.spaces.stored import KINDS, read_space
from brainrecon.datasets.spellings import said_of
from brainrecon.datasets.split import Split, first_presentation_order
from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from brainrecon.datasets.trial_tables import read_table, unread_columns
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.listing import visible
from stages.ground.pictures import how_to_convert
from stages.ground.table_cells import text_of
from weights.names import identifier_of

TRIAL_COLUMNS = ("stimulus_id", "session", "run")


def subjects(path):
    """The one subject of the folder."""
    return [read_facts(path).get("name", "subj01")]


def load(path, subject=None, roi=None, needs_split=True, own=None, image_size=None):
    """Load the subject of a folder; as `brainrecon.datasets.arrays.reader.load`.

    Without `needs_split` a single split will do, train. `own` is a mask of one's own.
    """
    facts = read_facts(path)
    name, whole = facts.get("name", "subj01"), facts.get("roi", "all")
    if subject not in (None, name):
        raise InputError(f"{path} holds subject {name}, not {subject}; ask for {name}.")
    rois = {
        identifier_of(file.stem): as_mask(read_array(file), file).reshape(-1)
        for file in visible(path / "rois", "*.npy")
    }
    for file in visible(path / "atlases", "*.npy"):
        rois = atlas_masks(rois, identifier_of(file.stem), read_array(file).reshape(-1), read_label_names(file), file)
    ceiling = read_array(path / "noise_ceiling.npy") if (path / "noise_ceiling.npy").exists() else None
    names = _split_names(path, needs_split)
    n_voxels = _betas(path / names[0])[0].shape[1]
    space = read_space(path, facts, n_voxels)
    if own is not None:
        rois[MASK] = own.in_columns(n_voxels, space)
    finite = FiniteVoxels(lambda: ((name, _betas(path / name)[0]) for name in names))
    chosen = choose_voxels(path, rois, roi, n_voxels, finite, whole)
    if ceiling is not None:
        check_voxels(ceiling, n_voxels, "the noise ceiling", path)
    standardized = checked_standardized(facts.get("standardized", "no"), path / "subject.json")
    splits = read_splits(path, chosen, standardized, needs_split, image_size)
    unread = unread_columns([path / name / "trials.csv" for name in splits], TRIAL_COLUMNS)
    content = stimulus_fingerprint("arrays", splits)
    inside = slice(None) if chosen is None else chosen
    return Subject(
        name=name,
        dataset=facts.get("dataset", "arrays"),
        source=f"arrays:{path}",
        splits=splits,
        roi=roi or whole,
        rois=rois_inside(rois, chosen),
        noise_ceiling=None if ceiling is None else ceiling[inside],
        fingerprint=valid_fingerprint(facts, content) or content,
        # What was converted may have had the same note.
        notes=list(dict.fromkeys([*facts.get("notes", ()), *pictures_on_both_sides(splits), *unread, *finite.notes])),
        simulated=bool(facts.get("simulated", False)),
        pictures=facts.get("pictures", ""),
        details=facts.get("details") or {"n_trials": sum(split.n_trials for split in splits.values())},
        caption_choices=tuple(facts.get("caption_choices", ())),
        space=None if space is None else space.columns(inside),
    )


def valid_fingerprint(facts, content):
    """The fingerprint that a conversion stored, or "" when the stimuli are no longer those that it wrote.

    Parameters
    ----------
    facts : dict
        Of `subject.json`: ``fingerprint`` is that of the dataset that was converted, ``content`` the digest of the
        stimuli as they were written.
    content : str
        The digest of the stimuli as they are now, ``stimulus_fingerprint("arrays", splits)``.
    """
    return facts.get("fingerprint", "") if facts.get("content") == content else ""


def read_splits(path, chosen=None, standardized="no", needs_split=True, image_size=None):
    """The folder's splits, train first and the others sorted; betas and pictures stay on disk.

    Parameters
    ----------
    path : pathlib.Path
    chosen : bool array of shape (n_voxels,), optional
        Voxels to keep, by default all.
    standardized : {"no", "session"}
        As of `brainrecon.datasets.responses.Responses`.
    needs_split : bool
        Whether there must be a test split.
    image_size : int, optional
        Side of the squares that picture files are cut and resized to.
    """
    names = _split_names(path, needs_split)
    return {name: _read_split(path / name, chosen, standardized, image_size) for name in names}


def files(path):
    """The files of the layout, and what else of it is there."""
    rows = [ExpectedFile(path / "subject.json", "name, dataset, roi, notes", optional=True)]
    found = {file.parent.name for file in visible(path, "*/trials.csv")}
    for split in train_first({"train", "test", *found}):
        rows += _split_files(path / split)
    # Two kinds of space may have a flat map.
    of_spaces = {file: what for kind in KINDS for file, what in {kind.file: kind.what, **kind.others}.items()}
    rows += [ExpectedFile(path / file, what, optional=True) for file, what in of_spaces.items()]
    rows.append(ExpectedFile(path / "noise_ceiling.npy", "percent of variance per voxel", optional=True))
    masks = visible(path / "rois", "*.npy")
    rows += [ExpectedFile(file, f"the voxels of {identifier_of(file.stem)}", optional=True) for file in masks]
    atlases = [file for file in visible(path / "atlases") if file.suffix in (".npy", ".tsv", ".csv", ".ctab")]
    return rows + [ExpectedFile(file, "labels of an atlas, or their names", optional=True) for file in atlases]


def _split_files(folder):
    # What is there decides which of two forms is listed.
    name, pictures = folder.name, visible(folder / "images")
    if (folder / "patterns.npy").exists():
        responses = ExpectedFile(folder / "patterns.npy", f"{name} responses (n_stimuli, n_voxels)")
    else:
        responses = ExpectedFile(folder / "betas.npy", f"{name} responses (n_trials, n_voxels)")
    if pictures:
        shown = ExpectedFile(pictures[0], "a picture per stimulus, the first of them", optional=True)
    else:
        what = "pictures (n_stimuli, height, width, 3) uint8, or a folder images/"
        shown = ExpectedFile(folder / "images.npy", what, optional=True)
    return [
        responses,
        ExpectedFile(folder / "trials.csv", "stimulus_id, session, run of each trial"),
        shown,
        ExpectedFile(folder / "captions.json", "stimulus id to list of captions", optional=True),
        ExpectedFile(folder / "categories.json", "stimulus id to list of categories", optional=True),
    ]


def _split_names(path, needs_split=True):
    found = {file.parent.name for name in ("betas.npy", "patterns.npy") for file in visible(path, f"*/{name}")}
    if not ({"train", "test"} if needs_split else {"train"}) <= found:
        raise InputError(
            f"{path} has betas for {', '.join(sorted(found)) or 'no split'}; it needs train/betas.npy and "
            "test/betas.npy, or train/betas.npy alone with --folds 10: `brainrecon data template FOLDER` writes an example."
        )
    return train_first(found)


def _read_split(folder, chosen, standardized, image_size):
    rows = _read_trials(folder / "trials.csv")
    trial_ids = [text_of(row["stimulus_id"] or "") for row in rows]
    ids = first_presentation_order(trial_ids)[0].tolist()
    check_ids(ids, folder / "trials.csv")
    betas, path = _betas(folder)
    sessions, runs = _numbers(rows, "session", folder), _numbers(rows, "run", folder)
    unit, expected = ("stimuli", len(ids)) if path.name == "patterns.npy" else ("trials", len(rows))
    if len(betas) != expected:
        one = "stimulus" if unit == "stimuli" else "trial"
        raise InputError(f"{path} has {len(betas):,} {unit} but trials.csv {expected:,}; give one row per {one}.")
    if unit == "stimuli" and len(ids) < len(rows):
        # An average over trials belongs to no single session or run.
        trial_ids, sessions, runs = ids, None, None
    if chosen is not None:
        check_voxels(chosen, betas.shape[1], "the roi", path)
    images = _images(folder, ids, image_size)
    captions, categories = (by_stimulus(folder / f"{name}.json", ids) for name in ("captions", "categories"))
    betas = betas if chosen is None else as_rows(betas).columns(chosen)
    responses = stored_responses(betas, path, standardized=standardized, remedy=LEFT_OUT)
    return Split(responses, trial_ids, sessions, runs, images, captions, categories)


def _betas(folder):
    """The betas or patterns of a split, mapped, and their file."""
    betas, patterns = folder / "betas.npy", folder / "patterns.npy"
    if betas.exists() and patterns.exists():
        raise InputError(f"{folder} holds both betas.npy and patterns.npy; keep the single trials, betas.npy, only.")
    path = patterns if patterns.exists() else betas
    values = read_array(path, mapped=True)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        rows = "n_stimuli" if path == patterns else "n_trials"
        raise InputError(f"{path} is {values.dtype} {values.shape}; expected numbers ({rows}, n_voxels).")
    return values, path


def _read_trials(path):
    try:
        rows = read_table(path)
    except FileNotFoundError:
        raise absent_file(path) from None
    if not rows or "stimulus_id" not in rows[0]:
        found = f" but {', '.join(rows[0])}" if rows else ""
        raise InputError(f"{path} has no column stimulus_id{found}; give one row per trial with that column.")
    return rows


def _images(folder, ids, size):
    if (folder / "images.npy").exists():
        if size is not None:
            raise InputError(
                f"image_size={size} is for picture files and {folder / 'images.npy'} is one array; leave it out."
            )
        images = read_array(folder / "images.npy", mapped=True)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise InputError(
                f"{folder / 'images.npy'} is {images.dtype} {images.shape}; expected uint8 (n_stimuli, height, width, 3), 0 to "
                f"255: {how_to_convert(images)}."
            )
        return images
    if not (folder / "images").is_dir():
        return None
    found = {file.stem: file for file in visible(folder / "images")}
    absent = [name for name in ids if name not in found]
    if absent:
        raise InputError(
            f"{folder / 'images'} has no picture for {len(absent):,} of {len(ids):,} stimuli, the first is "
            f"{absent[0]}{said_of(absent[0], found)}; add it, named after the id."
        )
    return PictureFiles([found[name] for name in ids], size)


def by_stimulus(path, ids):
    """Texts of a JSON file, stimulus id -> text or list of texts, in the order of ids; None without the file.

    Captions have to be there for every stimulus; a stimulus may be of no category, which is an empty list.
    """
    if not path.exists():
        return None
    table = read_json(path)
    if not isinstance(table, dict):
        raise InputError(f"{path} holds a {type(table).__name__}; expected an object from stimulus id to texts.")
    absent = [name for name in ids if name not in table]
    if absent:
        raise InputError(
            f"{path} has nothing for {len(absent):,} of {len(ids):,} stimuli, the first is "
            f"{absent[0]}{said_of(absent[0], table)}; add them."
        )
    if path.stem == "captions":
        return checked_captions(table, ids, path)
    texts = [[table[name]] if isinstance(table[name], str) else table[name] for name in ids]
    for name, own in zip(ids, texts):
        if not isinstance(own, list) or not all(isinstance(text, str) for text in own):
            raise InputError(f"{path} has {json.dumps(own)[:100]} for stimulus {name}; expected a list of texts.")
    return texts


def _numbers(rows, column, folder):
    if column not in rows[0]:
        return None
    try:
        return [int(row[column]) for row in rows]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Column {column} of {folder / 'trials.csv'} holds no whole number ({error}); mend that row."
        ) from None
