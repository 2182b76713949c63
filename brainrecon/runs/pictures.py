"""Outputs of a run in files; pictures are read when they are looked at."""

from __future__ import annotations

import hashlib
import json

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.runs.layout import MEDIA
from stages.ground.media import DRAW_AGAIN
from stages.ground.threads import in_order
from weights.hashes import hash_file


def drawn_outputs(run, condition):
    """What has been drawn under one condition: (list of stimulus ids, outputs), samples of a stimulus in a row.

    Outputs are `PictureFiles`, or a list of what another medium's files hold.
    """
    there = _files(run, condition)
    # Hashes of thousands of files are computed by all threads.
    for _ in in_order(lambda one: one[0].check_written(one[2]), there):
        pass
    ids, paths = [name for _, name, _ in there], [path for *_, path in there]
    medium = run.unfitted.medium(run.unfitted.output)
    if medium == "picture":
        return ids, PictureFiles(paths, mend=DRAW_AGAIN)
    return ids, [MEDIA[medium][0].read(path) for path in paths]


def digest_of_drawn(run, condition):
    """What tells the outputs of a condition from any others: hex digest of their stimuli and contents; "" if there are none.

    By the manifest, with which `drawn_outputs` compares the files.
    """
    digest = hashlib.sha256()
    for part, name, path in (there := _files(run, condition)):
        known = part.written.get(path.relative_to(part.folder).as_posix())
        digest.update(json.dumps([name, known or hash_file(path)]).encode())
    return digest.hexdigest() if there else ""


def _files(run, condition):
    """(part, stimulus id, path) of each file that is there, samples of a stimulus in a row."""
    parts, own = run.drawn_by(condition)
    return [
        (part, str(name), path)
        for part in parts
        for name in part.subject.test.stimulus_ids
        for sample in range(run.n_samples(condition))
        if (path := part.image_path(own, name, sample)).exists()
    ]
