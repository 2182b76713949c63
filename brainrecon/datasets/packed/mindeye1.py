"""NSD as MindEye (Scotti et al. 2023) was trained on it: webdataset archives, a sample for each picture.

webdataset_avg_split/
  train/train_subj01_0.tar ... _17.tar    samples of most training pictures
  val/val_subj01_0.tar                    samples of the others, on which the authors train too
  test/test_subj01_0.tar, _1.tar          samples of the pictures that every subject saw
    sample000000001.jpg                     the picture
    sample000000001.nsdgeneral.npy          (3, n_voxels) a row per trial, z-scored within sessions
    sample000000001.num_uniques.npy         how many of the rows are trials: a picture that was shown less often has copies
    sample000000001.coco73k.npy             which picture of NSD it is, from 0
    sample000000001.trial.npy               not used
  metadata_subj01.json                    how many samples there are      optional

``webdataset_avg_new`` has the same layout, with the three sessions of NSD that were released later.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.nsd.design import NSD_PICTURES, stimulus_id
from brainrecon.datasets.own_mask import chosen_voxels
from brainrecon.datasets.packed.files import find_subjects
from brainrecon.datasets.packed.tar_members import AGAIN, TarPictures, samples_of, small_arrays
from brainrecon.datasets.packed.tar_trials import TarTrials
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json

NAME = "MindEye"
EXAMPLE = "webdataset_avg_split/train/train_subj01_0.tar"
OPTIONS = ("val", "copies")
ROI = "nsdgeneral"
PARTS = ("train", "val", "test")
FOLDERS = ("", "webdataset_avg_split/", "webdataset_avg_new/")
PUBLISHED = {"train": 18, "val": 1, "test": 2}
"""Archives of a subject, for those who have none."""
RESPONSES, PICTURE, COUNT = "nsdgeneral.npy", "coco73k.npy", "num_uniques.npy"
_NAME = re.compile(r"(train|val|test)_subj(\d+)_(\d+)\.tar")


def find(path):
    """Subjects below `path`: dict of name to the subject's archives, in order."""
    found = {}
    for base in FOLDERS:
        folders = [base, *(f"{base}{part}/" for part in PARTS)]
        for subject, archives in find_subjects(path, folders, r"(train|val|test)_subj(?P<number>\d+)_\d+\.tar").items():
            if subject in found:
                raise InputError(
                    f"{path} holds archives of {subject} in {found[subject][0].parent} and in {archives[0].parent}; give "
                    "the folder of one release."
                )
            found[subject] = sorted(archives, key=_order)
        if Path(path).is_file():
            break
    return dict(sorted(found.items()))


def load(archives, subject, roi, source, mask=None, val="train", copies=False):
    """Load one subject; parameters as `brainrecon.datasets.packed.reader.load` has found them."""
    check("val", val, OneOf("train", "apart"), "--option {name}={example}")
    check("copies", copies, OneOf(True, False), "--option {name}={example}")
    parts = {part: [file for file in archives if _part(file) == part] for part in PARTS}
    for part in ("train", "test"):
        if not parts[part]:
            raise InputError(
                f"There is no {part}_{subject}_0.tar beside {archives[0]} or in its place; copy the archives of {part} there, "
                "and give the folder that holds train, val and test."
            )
    samples = {part: _Samples(files) for part, files in parts.items() if files}
    notes = [
        "a copy that MindEye was trained on, from NSD's session-wise z-scored betas according to its authors; no noise ceiling",
        f"no regions are named in the files: all voxels are {ROI}",
        "sessions and runs are not in the files; no captions in this layout",
    ]
    notes += _of_archives(parts) + _of_metadata(archives[0], subject, samples)
    if "val" in samples and (shared := sorted(set(samples["train"].ids) & set(samples["val"].ids))):
        raise InputError(
            f"Picture {shared[0]} of NSD is in archives of train and of val in {archives[0].parent}; {AGAIN}."
        )
    sizes = Counter(member.size for own in samples.values() for member in own.responses)
    if len(sizes) > 1:
        odd = min(sizes, key=lambda size: sizes[size])
        member = next(member for own in samples.values() for member in own.responses if member.size == odd)
        raise InputError(
            f"{member} has {odd:,} bytes but the other samples {max(sizes, key=lambda size: sizes[size]):,}; take all archives "
            "of one subject and release."
        )
    groups = {"train": ["train"] + (["val"] if val == "train" else []), "test": ["test"]}
    groups |= {"val": ["val"]} if val == "apart" else {}
    if "val" not in samples:
        notes.append(f"there is no val_{subject}_0.tar, so that training pictures are fewer than the authors'")
        groups = {name: [part for part in own if part != "val"] for name, own in groups.items() if own != ["val"]}
    n_voxels = samples["train"].n_voxels
    chosen, rois = chosen_voxels(source.partition(":")[2], {}, roi, n_voxels, ROI, mask)
    columns = None if chosen.all() else np.flatnonzero(chosen)
    splits = {name: _split([samples[part] for part in own], n_voxels, columns, copies) for name, own in groups.items()}
    filled = sum(int((own.counts < own.n_rows).sum()) for own in samples.values())
    if filled:
        rest = "count as trials too, as in the authors' averages" if copies else "are not counted"
        notes.append(
            f"{filled:,} pictures were shown fewer than {samples['train'].n_rows} times; their other rows are copies and {rest}"
        )
    if val == "train" and "val" in samples:
        notes.append("pictures of val are trained on, as the authors do; --option val=apart makes a split of them")
    return Subject(
        name=subject,
        dataset="packed",
        source=source,
        splits=splits,
        roi=roi or ROI,
        rois=rois,
        fingerprint=stimulus_fingerprint("packed", splits, layout=NAME),
        notes=notes,
        details={
            "layout": NAME,
            "betas": "z-scored within sessions",
            "val": val,
            "copies": copies,
            "n_trials": sum(split.n_trials for split in splits.values()),
        },
    )


class _Samples:
    """The samples of some archives, in order.

    Attributes
    ----------
    responses, pictures : list of brainrecon.datasets.packed.tar_members.Member
    ids : list of str
    counts : array of int, shape (n_samples,)
        Rows that are trials.
    n_rows, n_voxels : int
    """

    def __init__(self, archives):
        members = []
        for file in archives:
            found = samples_of(file)
            if not found:
                raise InputError(f"{file} holds no sample, such as sample000000001.jpg with its arrays; {AGAIN}.")
            members += [(f"{key} of {file}", own) for key, own in found.items()]
        for where, own in members:
            absent = [kind for kind in (RESPONSES, PICTURE, COUNT) if kind not in own]
            absent += [] if "jpg" in own or "png" in own else ["jpg"]
            if absent:
                raise InputError(f"Sample {where} has no {absent[0]} but {', '.join(own)}; {AGAIN}.")
        self.responses = [own[RESPONSES] for _, own in members]
        self.pictures = [own["jpg" if "jpg" in own else "png"] for _, own in members]
        numbers = _whole([own[PICTURE] for _, own in members])
        if numbers.min() < 0 or numbers.max() >= NSD_PICTURES:
            place = int(np.argmax((numbers < 0) | (numbers >= NSD_PICTURES)))
            raise InputError(
                f"{members[place][1][PICTURE]} is {numbers[place]} but NSD has {NSD_PICTURES:,} pictures, from 0 on; {AGAIN}."
            )
        self.ids = [stimulus_id(number) for number in numbers.tolist()]
        twice = next((name for name, count in Counter(self.ids).items() if count > 1), None)
        if twice:
            first, second = [place for place, name in enumerate(self.ids) if name == twice][:2]
            raise InputError(
                f"{self.pictures[first]} and {self.pictures[second]} are both picture {twice} of NSD; {AGAIN}, or remove one."
            )
        first = small_arrays(self.responses[:1])[0]
        if first.ndim != 2 or 0 in first.shape or first.dtype.kind not in "fiu":
            raise InputError(
                f"{self.responses[0]} holds {first.dtype} {first.shape}; expected numbers (trials, voxels): {AGAIN}."
            )
        self.n_rows, self.n_voxels = first.shape
        self.counts = _whole([own[COUNT] for _, own in members])
        if self.counts.min() < 1 or self.counts.max() > self.n_rows:
            place = int(np.argmax((self.counts < 1) | (self.counts > self.n_rows)))
            raise InputError(
                f"{members[place][1][COUNT]} is {self.counts[place]} but a picture has {self.n_rows} rows, 1 or more of them "
                f"trials; {AGAIN}."
            )


def _whole(members):
    """The one whole number that each member holds, int (n,)."""
    arrays = small_arrays(members)
    for member, values in zip(members, arrays):
        if (
            values.size != 1
            or values.dtype.kind not in "iuf"
            or values.reshape(-1)[0] != np.rint(values.reshape(-1)[0])
        ):
            raise InputError(f"{member} holds {values.dtype} {values.shape}; expected one whole number: {AGAIN}.")
    return np.array([int(values.reshape(-1)[0]) for values in arrays], dtype=np.int64)


def _split(parts, n_voxels, columns, copies):
    responses = [member for part in parts for member in part.responses]
    counts = np.concatenate([part.counts for part in parts])
    ids = np.array([name for part in parts for name in part.ids])
    repeats = np.full(len(counts), parts[0].n_rows) if copies else counts
    betas = TarTrials(responses, repeats, None if copies else counts, n_voxels)
    return Split(
        betas=betas if columns is None else betas.columns(columns),
        trial_stimulus_ids=np.repeat(ids, repeats),
        images=TarPictures([member for part in parts for member in part.pictures]),
    )


def _of_archives(parts):
    """A note of archives that are missing between others."""
    notes = []
    for part, files in parts.items():
        numbers = [int(_NAME.fullmatch(file.name)[3]) for file in files]
        missing = [str(number) for number in range(max(numbers, default=0)) if number not in numbers]
        notes += [f"archives {', '.join(missing)} of {part} are missing"] if missing else []
    return notes


def _of_metadata(archive, subject, samples):
    """A note if there are other numbers of samples than the release says."""
    path = _metadata(archive, subject)
    if not path.is_file():
        return []
    totals = read_json(path, dict, AGAIN).get("totals")
    if not isinstance(totals, dict):
        raise InputError(
            f"{path} has no totals, how many samples of train, val and test there are; {AGAIN}, or remove it."
        )
    found = {part: len(own.ids) for part, own in samples.items()}
    differ = [
        f"{found[part]:,} of {totals[part]:,} of {part}"
        for part in found
        if totals.get(part, found[part]) != found[part]
    ]
    return [f"samples found: {', '.join(differ)}, by {path.name}"] if differ else []


def _metadata(archive, subject):
    folder = archive.parent.parent if archive.parent.name in PARTS else archive.parent
    return folder / f"metadata_{subject}.json"


def _part(file):
    return _NAME.fullmatch(file.name)[1]


def _order(file):
    part, _, number = _NAME.fullmatch(file.name).groups()
    return PARTS.index(part), int(number)


def files(path, subject=None):
    """The files of one subject."""
    found = find(path)
    subject = subject or next(iter(found), "subj01")
    archives = found.get(subject) or [
        path / part / f"{part}_{subject}_{number}.tar" for part, n in PUBLISHED.items() for number in range(n)
    ]
    rows = [ExpectedFile(file, f"samples of {_part(file)}", _part(file) == "val") for file in archives]
    return [*rows, ExpectedFile(_metadata(archives[0], subject), "how many samples there are", optional=True)]
