"""A subject as plain arrays in a folder: one's own measurements, or another dataset converted once.

FOLDER/
  subject.json            name, dataset, roi, simulated, notes (every entry optional)
  noise_ceiling.npy       (n_voxels,) float, percent of variance            optional
  rois/<name>.npy         (n_voxels,) bool                                  optional
  train/ and test/, and any further split:
    betas.npy             (n_trials, n_voxels) float, one row per trial
    trials.csv            columns stimulus_id and, optionally, session and run; a row per trial
    images.npy            (n_stimuli, height, width, 3) uint8, in the order of first presentation, or
    images/<id>.png       a picture per stimulus, all of one size           optional
    captions.json         stimulus id -> list of captions                   optional
    categories.json       stimulus id -> list of categories                 optional
"""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.datasets.subject import ROWS_PER_BLOCK, Split, Subject, check_finite, stimulus_fingerprint
from stages.errors import InputError
from stages.whole_files import whole_file, write_text

IMAGES_PER_BLOCK = 64


def subjects(path):
    """The one subject of the folder."""
    return [_read_json(Path(path) / "subject.json").get("name", "subj01")]


def load(path, subject=None, roi=None):
    """Load the subject of a folder.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        Only the folder's own can be asked for.
    roi : str, optional
        Name of a file in `rois`; by default all voxels.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Betas and pictures stay on disk until they are asked for.

    Raises
    ------
    InputError
        A file is absent, damaged or at odds with the others.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; type `brainrecon data template {path}` for an example of one.")
    facts = _read_json(path / "subject.json")
    name = facts.get("name", "subj01")
    if subject not in (None, name):
        raise InputError(f"{path} holds subject {name}, not {subject}; ask for {name}.")
    folders = sorted(folder.name for folder in path.iterdir() if (folder / "betas.npy").exists())
    if not {"train", "test"} <= set(folders):
        raise InputError(
            f"{path} has betas for {', '.join(folders) or 'no split'}; it needs train/betas.npy and test/betas.npy: "
            "`brainrecon data template FOLDER` writes an example."
        )
    rois = {file.stem: _read_array(file).astype(bool) for file in sorted((path / "rois").glob("*.npy"))}
    chosen = None
    if roi is not None and roi != facts.get("roi", "all"):
        if roi not in rois:
            raise InputError(f"{path} has no roi {roi!r}; it has {', '.join(rois) or 'none, so leave roi out'}.")
        chosen = rois[roi]
        if not chosen.any():
            raise InputError(f"Roi {roi} of {path} has no voxels; choose another of {', '.join(rois)}.")
    ceiling = _read_array(path / "noise_ceiling.npy") if (path / "noise_ceiling.npy").exists() else None
    splits = {split: _read_split(path / split, chosen) for split in ("train", *sorted(set(folders) - {"train"}))}
    return Subject(
        name=name,
        dataset=facts.get("dataset", "arrays"),
        source=f"arrays:{path}",
        splits=splits,
        roi=roi or facts.get("roi", "all"),
        rois={key: mask[chosen] if chosen is not None else mask for key, mask in rois.items()},
        noise_ceiling=ceiling[chosen] if ceiling is not None and chosen is not None else ceiling,
        fingerprint=facts.get("fingerprint") or stimulus_fingerprint("arrays", splits),
        notes=list(facts.get("notes", ())),
        simulated=bool(facts.get("simulated", False)),
        details=dict(facts.get("details", {})),
        caption_choices=tuple(facts.get("caption_choices", ())),
    )


def write(subject, folder, progress=None):
    """Write a subject into a folder as plain arrays; an interrupted writing goes on where it stopped.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    folder : path
        New, or what an interrupted `write` of the same subject left.
    progress : callable, optional
        Called with (label, done, total).

    Notes
    -----
    Betas and pictures pass in blocks, so memory stays bounded by a block and the dataset's own cache.
    """
    folder = Path(folder)
    if (folder / "subject.json").exists():
        there = _read_json(folder / "subject.json")
        if (there.get("fingerprint"), there.get("name"), there.get("roi")) == (
            subject.fingerprint,
            subject.name,
            subject.roi,
        ):
            return
        raise InputError(f"{folder} already holds {there.get('name')}, roi {there.get('roi')}; name another folder.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder.")
    begun, identity = folder / "subject.partial.json", [subject.fingerprint, subject.name, subject.roi]
    if begun.exists():
        if _read_json(begun) != identity:
            raise InputError(f"{folder} holds an unfinished writing of {_read_json(begun)[1]}; name another folder.")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files; name a new or empty folder.")
    write_text(begun, json.dumps(identity) + "\n")
    (folder / "rois").mkdir(parents=True, exist_ok=True)
    for name, mask in subject.rois.items():
        _save(folder / "rois" / f"{name}.npy", mask)
    if subject.noise_ceiling is not None:
        _save(folder / "noise_ceiling.npy", subject.noise_ceiling)
    for name, split in subject.splits.items():
        _write_split(folder / name, split, name, progress)
    facts = {
        "name": subject.name,
        "dataset": subject.dataset,
        "roi": subject.roi,
        "simulated": subject.simulated,
        "fingerprint": subject.fingerprint,
        "notes": subject.notes,
        "details": subject.details,
        "caption_choices": list(subject.caption_choices),
    }
    # Last: where this file stands, the folder is whole.
    write_text(folder / "subject.json", json.dumps(facts, indent=1) + "\n")
    begun.unlink()


def files(path, subject=None):
    """The files of the layout: ``(path, what it is)``."""
    rows = [(path / "subject.json", "name, dataset, roi, notes")]
    for split in ("train", "test"):
        rows += [
            (path / split / "betas.npy", f"{split} responses (n_trials, n_voxels)"),
            (path / split / "trials.csv", "stimulus_id, session, run of each trial"),
            (path / split / "images.npy", "pictures (n_stimuli, height, width, 3) uint8, or a folder images/"),
            (path / split / "captions.json", "optional: stimulus id to list of captions"),
        ]
    return [*rows, (path / "noise_ceiling.npy", "optional: percent of variance per voxel")]


def write_template(folder):
    """Write a small example of the layout (random numbers) with a README.md that describes each file."""
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder for the template.")
    generator = np.random.default_rng(0)
    splits = {}
    for name, n_stimuli, repeats in (("train", 12, 1), ("test", 4, 3)):
        ids = [f"{name}{number:03d}" for number in range(n_stimuli)]
        trials = np.tile(ids, repeats)
        splits[name] = Split(
            betas=generator.normal(size=(len(trials), 50)).astype(np.float32),
            trial_stimulus_ids=trials,
            sessions=np.ones(len(trials), dtype=int),
            runs=np.ones(len(trials), dtype=int),
            images=generator.integers(0, 256, size=(n_stimuli, 64, 64, 3), dtype=np.uint8),
            captions=[["what is in the picture", "the same in other words"] for _ in ids],
        )
    early = np.arange(50) < 20
    note = "an example with random numbers: replace every file by your own"
    write(Subject("subj01", "arrays", "", splits, "all", rois={"early": early, "higher": ~early}, notes=[note]), folder)
    facts = _read_json(folder / "subject.json")
    # The example's own digest would stay when the files are replaced.
    del facts["fingerprint"]
    write_text(folder / "subject.json", json.dumps(facts, indent=1) + "\n")
    write_text(folder / "README.md", "# A subject as plain arrays\n\n```\n" + __doc__.split("\n\n", 1)[1] + "```\n")


def _read_split(folder, chosen):
    if not (folder / "trials.csv").exists():
        raise _absent(folder / "trials.csv")
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "stimulus_id" not in rows[0]:
        raise InputError(f"{folder / 'trials.csv'} has no column stimulus_id; give one row per trial with that column.")
    betas = _read_array(folder / "betas.npy", mapped=True)
    if betas.ndim != 2 or betas.dtype.kind not in "fiu":
        raise InputError(
            f"{folder / 'betas.npy'} is {betas.dtype} {betas.shape}; expected numbers (n_trials, n_voxels)."
        )
    if len(betas) != len(rows):
        raise InputError(
            f"{folder / 'betas.npy'} has {len(betas):,} trials but trials.csv {len(rows):,}; give one row per trial."
        )
    trial_ids = [row["stimulus_id"] for row in rows]
    split = Split(_Columns(betas, chosen), trial_ids, _numbers(rows, "session", folder), _numbers(rows, "run", folder))
    ids = [str(name) for name in split.stimulus_ids]
    images = _images(folder, ids)
    captions, categories = (_by_stimulus(folder / f"{name}.json", ids) for name in ("captions", "categories"))
    return Split(split.betas, trial_ids, split.sessions, split.runs, images, captions, categories)


class _Columns:
    """Chosen voxels of betas on disk, (n_trials, n_voxels) float32, checked for NaN when read."""

    def __init__(self, betas, chosen):
        self._betas, self._chosen = betas, slice(None) if chosen is None else chosen
        if chosen is not None and len(chosen) != betas.shape[1]:
            raise InputError(
                f"Betas have {betas.shape[1]:,} voxels but the roi {len(chosen):,}; take both from one subject."
            )
        self.shape = (len(betas), betas.shape[1] if chosen is None else int(chosen.sum()))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        index, columns = index if isinstance(index, tuple) else (index, slice(None))
        rows = np.asarray(self._betas[index], dtype=np.float32)[..., self._chosen]
        check_finite(np.atleast_2d(rows), getattr(self._betas, "filename", "betas.npy"))
        return rows[..., columns]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)


def _images(folder, ids):
    if (folder / "images.npy").exists():
        images = _read_array(folder / "images.npy", mapped=True)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise InputError(
                f"{folder / 'images.npy'} is {images.dtype} {images.shape}; expected uint8 (n_stimuli, height, width, 3)."
            )
        return images
    if not (folder / "images").is_dir():
        return None
    found = {file.stem: file for file in sorted((folder / "images").iterdir())}
    absent = [name for name in ids if name not in found]
    if absent:
        raise InputError(
            f"{folder / 'images'} has no picture for {len(absent):,} of {len(ids):,} stimuli, the first is {absent[0]}."
        )
    return PictureFiles([found[name] for name in ids])


def _by_stimulus(path, ids):
    if not path.exists():
        return None
    table = _read_json(path)
    absent = [name for name in ids if name not in table]
    if absent:
        raise InputError(
            f"{path} has nothing for {len(absent):,} of {len(ids):,} stimuli, the first is {absent[0]}; add them."
        )
    return [[table[name]] if isinstance(table[name], str) else list(table[name]) for name in ids]


def _numbers(rows, column, folder):
    if column not in rows[0]:
        return None
    try:
        return [int(row[column]) for row in rows]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Column {column} of {folder / 'trials.csv'} holds no whole number ({error}); mend that row."
        ) from None


def _write_split(folder, split, name, progress):
    folder.mkdir(exist_ok=True)
    columns = {"stimulus_id": split.trial_stimulus_ids, "session": split.sessions, "run": split.runs}
    columns = {key: values for key, values in columns.items() if values is not None}
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows([columns, *zip(*columns.values())])
    write_text(folder / "trials.csv", lines.getvalue())
    _stream(folder / "betas.npy", split.betas, np.float32, ROWS_PER_BLOCK, f"{name} betas", progress)
    if split.images is not None:
        _stream(folder / "images.npy", split.images, np.uint8, IMAGES_PER_BLOCK, f"{name} pictures", progress)
    for label, values in (("captions", split.captions), ("categories", split.categories)):
        if values is not None:
            table = {str(key): list(entry) for key, entry in zip(split.stimulus_ids, values)}
            write_text(folder / f"{label}.json", json.dumps(table, indent=1) + "\n")


def _stream(path, rows, dtype, block, label, progress):
    """Copy rows into a .npy file block by block, from the last finished block on."""
    if path.exists():
        return
    partial, state = path.with_suffix(".partial.npy"), path.with_suffix(".partial.json")
    done = _read_json(state)["rows"] if partial.exists() and state.exists() else 0
    mode = {"mode": "r+"} if done else {"mode": "w+", "dtype": dtype, "shape": tuple(rows.shape)}
    values = np.lib.format.open_memmap(partial, **mode)
    for start in range(done, len(values), block):
        stop = min(start + block, len(values))
        values[start:stop] = rows[start:stop]
        values.flush()
        write_text(state, json.dumps({"rows": stop}))
        if progress:
            progress(label, stop, len(values))
    del values
    os.replace(partial, path)
    state.unlink(missing_ok=True)


def _save(path, array):
    with whole_file(path) as partial:
        np.save(partial, array)


def _read_array(path, mapped=False):
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise _absent(path) from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a .npy array ({error}); save it again with numpy.save.") from None


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _absent(path) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); mend it.") from None


def _absent(path):
    return InputError(f"{path} is missing; `brainrecon data template FOLDER` writes an example of the layout.")
