"""Outputs of a run in files; pictures are read when they are looked at."""

from __future__ import annotations

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.runs.layout import MEDIA
from stages.ground.media import DRAW_AGAIN
from stages.ground.threads import in_order


def drawn_outputs(run, condition):
    """What has been drawn under one condition: (list of stimulus ids, outputs), samples of a stimulus in a row.

    Outputs are `PictureFiles`, or a list of what another medium's files hold.
    """
    parts, own = run.drawn_by(condition)
    there = [
        (part, str(name), path)
        for part in parts
        for name in part.subject.test.stimulus_ids
        for sample in range(run.n_samples(condition))
        if (path := part.image_path(own, name, sample)).exists()
    ]
    # Hashes of thousands of files are computed by all threads.
    for _ in in_order(lambda one: one[0].check_written(one[2]), there):
        pass
    ids, paths = [name for _, name, _ in there], [path for *_, path in there]
    medium = run.unfitted.medium(run.unfitted.output)
    if medium == "picture":
        return ids, PictureFiles(paths, mend=DRAW_AGAIN)
    return ids, [MEDIA[medium][0].read(path) for path in paths]
