"""Writing a subject as the folder of plain arrays that `brainrecon.datasets.arrays.folder` reads, and an example."""

import csv
import io
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays import bids_betas
from brainrecon.datasets.arrays import file as arrays_file
from brainrecon.datasets.arrays import folder as arrays_folder
from brainrecon.datasets.arrays.facts import UNFINISHED, read_array, read_facts, read_json
from brainrecon.datasets.arrays.folder import read_splits, valid_fingerprint
from brainrecon.datasets.arrays.parts import check_ids
from brainrecon.datasets.silent_trials import silence_note, silent_trials
from brainrecon.datasets.split import ROWS_PER_BLOCK, Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.table_cells import text_cell
from weights.names import file_name
from weights.partial_files import is_partial, sweep
from weights.whole_files import locked, make_folder, put_in_place, reserve, whole_file, write_text

IMAGES_PER_BLOCK = 64


def write(subject, folder, progress=SILENT):
    """Write a subject into a folder as plain arrays; an interrupted writing goes on where it stopped.

    >>> import brainrecon
    >>> write_template("whole")
    >>> write(brainrecon.load("arrays:whole", roi="early"), "only-early")
    >>> brainrecon.load("arrays:only-early").train.betas.shape
    (12, 20)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    folder : path
        New, or what an interrupted `write` of the same subject left.
    progress : callable, optional
        Called with (label, done, total).

    Raises
    ------
    InputError
        The folder holds something else, such as other betas of the same subject, or the subject cannot be read. What
        was finished until then stays, to be gone on with once the data are mended; where nothing was, nothing is left.

    Notes
    -----
    Betas and pictures pass in blocks, so memory stays bounded by a block and the dataset's own cache.
    """
    folder = Path(folder)
    for name, split in subject.splits.items():
        check_ids(map(str, split.stimulus_ids), f"split {name}")
    # Units, version and sessions of the betas are among the details.
    identity = json.loads(json.dumps([subject.fingerprint, subject.name, subject.roi, subject.details]))
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder.")
    existed = folder.exists()
    if not (folder / "subject.json").exists():
        # Another process may write the same: when it is done, nothing is left to do here.
        with locked(folder, waiting=lambda: progress("waiting for another process that writes here", 0, 1)):
            if not (folder / "subject.json").exists():
                _write(subject, folder, identity, existed, progress)
                return
    _check_written(subject, folder, identity)
    _tidy(folder)


def _write(subject, folder, identity, existed, progress):
    begun = folder / UNFINISHED
    if begun.exists():
        if read_json(begun) != identity:
            raise InputError(
                f"{folder} holds an unfinished writing of {read_json(begun)[1]} from other data or with other options; "
                "name another folder."
            )
    elif not all(is_partial(path) for path in folder.iterdir()):
        raise InputError(f"{folder} holds other files; name a new or empty folder.")
    sweep(folder)
    write_text(begun, json.dumps(identity) + "\n")
    try:
        _write_parts(subject, folder, progress)
    except InputError:
        if not any(folder.glob("*/betas.npy")) and not any(folder.glob("*/betas.partial.json")):
            shutil.rmtree(folder)
            if existed:
                folder.mkdir()
        raise
    facts = {
        "name": subject.name,
        "dataset": subject.dataset,
        "roi": subject.roi,
        "simulated": subject.simulated,
        "pictures": subject.pictures,
        "notes": list(dict.fromkeys([*subject.notes, *_silence(folder, subject.splits)])),
        "standardized": "no" if subject.train.standardized == "no" else "session",
        "details": subject.details,
        "caption_choices": list(subject.caption_choices),
    }
    if subject.space is not None:
        facts[subject.space.kind] = subject.space.facts()
    if subject.fingerprint:
        # It holds for as long as the stimuli are those that were written.
        content = stimulus_fingerprint("arrays", read_splits(folder))
        facts |= {"fingerprint": subject.fingerprint, "content": content}
    # Last: where this file stands, the folder is whole.
    write_text(folder / "subject.json", json.dumps(facts, indent=1) + "\n")
    _tidy(folder)


def _write_parts(subject, folder, progress):
    make_folder(folder / "rois")
    for name, mask in subject.rois.items():
        _save(folder / "rois" / f"{file_name(name)}.npy", mask)
    if subject.noise_ceiling is not None:
        _save(folder / "noise_ceiling.npy", subject.noise_ceiling)
    for name, array in ({} if subject.space is None else subject.space.arrays()).items():
        _save(folder / name, array)
    # What is small comes first, so that what is wrong with it is told before hours of copying.
    for name, split in subject.splits.items():
        _write_words(folder / name, split)
    for name, split in subject.splits.items():
        _stream(folder / name / "betas.npy", split.betas, np.float32, ROWS_PER_BLOCK, f"{name} betas", progress)
        if split.images is not None:
            _stream(
                folder / name / "images.npy", split.images, np.uint8, IMAGES_PER_BLOCK, f"{name} pictures", progress
            )


def _silence(folder, splits):
    """Notes of trials without any response, as they were written."""
    for name in splits:
        written = read_array(folder / name / "betas.npy")
        if len(rows := silent_trials(written)):
            yield silence_note(rows, len(written), name)


def write_template(folder):
    """Write a small example of the layout (random numbers) with a README.md that describes each file.

    >>> write_template("my-study")
    >>> sorted(path.name for path in Path("my-study").glob("*.md"))
    ['README.md']
    """
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
    write_text(folder / "README.md", _readme())


def _readme():
    """The three forms, each as the module that reads it describes it."""
    layouts = [module.__doc__.split("\n\n", 1)[1] for module in (arrays_folder, arrays_file, bids_betas)]
    return """# Your own data

This folder is an example of the first of three forms; use it as `arrays:FOLDER`.

## A folder of plain arrays

```
{}```

## One file

.npz, HDF5 (.h5, .hdf5) or MATLAB (.mat), as `arrays:FILE`.

```
{}```

```python
numpy.savez(
    "mine.npz",
    betas=betas,  # (n_trials, n_voxels) float32
    stimulus_ids=stimulus_ids,  # (n_trials,) text, never an array of Python objects
    split=split,  # (n_trials,) "train" or "test"
    images=images,  # (n_stimuli, height, width, 3) uint8
    image_ids=image_ids,  # (n_stimuli,) which stimulus each picture is
)
```

## A BIDS folder of single-trial betas

As `arrays:FOLDER`, with `--subject sub-01` if there are several.

```
{}```
""".format(*layouts)


def _tidy(folder):
    """Remove what only an unfinished writing needs; a process may have been killed before it did."""
    for left in (folder / UNFINISHED, *folder.glob("*/*.partial.json")):
        with suppress(OSError):
            left.unlink(missing_ok=True)


def _check_written(subject, folder, identity):
    """Raise an InputError unless the folder holds this very subject, with the stimuli as they were written."""
    there = read_facts(folder)
    if [there.get("fingerprint", ""), *(there.get(name) for name in ("name", "roi", "details"))] != identity:
        raise InputError(
            f"{folder} already holds {there.get('name')}, roi {there.get('roi')}, from other data or with other options; "
            "name another folder."
        )
    splits = read_splits(folder)
    if splits.keys() != subject.splits.keys():
        raise InputError(
            f"{folder} has the splits {', '.join(splits)}, other ones than would be written; name another folder."
        )
    if "content" in there and not valid_fingerprint(there, stimulus_fingerprint("arrays", splits)):
        raise InputError(f"The pictures or ids in {folder} were changed since they were written; name another folder.")
    for name, split in splits.items():
        _check_same(folder / name / "betas.npy", split.betas, subject.splits[name].betas, split.n_trials)


def _check_same(path, written, rows, n_written):
    """Raise an InputError unless the first and the last row that were written are those that would be written now."""
    same = written.shape == rows.shape and all(np.array_equal(written[row], rows[row]) for row in (0, n_written - 1))
    if not same:
        raise InputError(f"{path} holds other values than would be written now; name another folder.")


def _write_words(folder, split):
    """Write the trials, captions and categories of a split."""
    make_folder(folder)
    names = [text_cell(str(name)) for name in split.trial_stimulus_ids]
    columns = {"stimulus_id": names, "session": split.sessions, "run": split.runs}
    columns = {key: values for key, values in columns.items() if values is not None}
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows([columns, *zip(*columns.values())])
    write_text(folder / "trials.csv", lines.getvalue())
    for label, values in (("captions", split.captions), ("categories", split.categories)):
        if values is not None:
            table = {str(key): list(entry) for key, entry in zip(split.stimulus_ids, values)}
            write_text(folder / f"{label}.json", json.dumps(table, indent=1) + "\n")


def _stream(path, rows, dtype, block, label, progress):
    """Copy rows into a .npy file block by block, from the last finished block on."""
    if path.exists():
        return
    partial, state = path.with_suffix(".partial.npy"), path.with_suffix(".partial.json")
    done = read_json(state)["rows"] if partial.exists() and state.exists() else 0
    mode = {"mode": "r+"} if done else {"mode": "w+", "dtype": dtype, "shape": tuple(rows.shape)}
    values = np.lib.format.open_memmap(partial, **mode)
    reserve(partial)
    if done:
        _check_same(partial, values, rows, done)
    for start in range(done, len(values), block):
        stop = min(start + block, len(values))
        values[start:stop] = rows[start:stop]
        values.flush()
        write_text(state, json.dumps({"rows": stop}))
        progress(label, stop, len(values))
    del values
    put_in_place(partial, path)
    state.unlink(missing_ok=True)


def _save(path, array):
    with whole_file(path) as partial:
        np.save(partial, array)
