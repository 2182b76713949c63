"""Outputs of a run in files; pictures are read when they are looked at."""

from __future__ import annotations

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.runs.layout import MEDIA
from stages.ground.media import DRAW_AGAIN


def drawn_outputs(run, condition):
    """What has been drawn under one condition: (list of stimulus ids, outputs), samples of a stimulus in a row.

    Outputs are `PictureFiles`, or a list of what another medium's files hold.
    """
    ids, paths = [], []
    parts, own = run.drawn_by(condition)
    for part in parts:
        for name in part.subject.test.stimulus_ids:
            for sample in range(run.n_samples(condition)):
                path = part.image_path(own, name, sample)
                if path.exists():
                    part.check_written(path)
                    ids.append(str(name))
                    paths.append(path)
    medium = run.unfitted.medium(run.unfitted.output)
    if medium == "picture":
        return ids, PictureFiles(paths, mend=DRAW_AGAIN)
    return ids, [MEDIA[medium][0].read(path) for path in paths]
