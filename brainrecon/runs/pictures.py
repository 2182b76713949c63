"""Pictures in files, read when they are looked at: those of a run, and a folder of somebody else's."""

from __future__ import annotations

import re
from pathlib import Path

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.runs.layout import MEDIA
from stages.ground.errors import InputError

DRAW_AGAIN = "delete it and run the same command again"
"""What to do with a damaged picture of a run."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# stim-<id>_sample-<k>, as a run writes them; both additions may be absent.
_NAME = re.compile(r"(?s)(?:stim-)?(?P<stimulus>.+?)(?:_sample-(?P<sample>\d+))?")


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
                    ids.append(str(name))
                    paths.append(path)
    medium = run.unfitted.medium(run.unfitted.output)
    if medium == "picture":
        return ids, PictureFiles(paths, mend=DRAW_AGAIN)
    return ids, [MEDIA[medium][0].read(path) for path in paths]


def pictures_in(folder, stimulus_ids):
    """Pictures of a folder that are named by stimulus: `<id>.png`, `stim-<id>.png`, `stim-<id>_sample-<k>.png`.

    Parameters
    ----------
    folder : path
    stimulus_ids : sequence of str
        The test stimuli.

    Returns
    -------
    ids : list of str, length n_pictures
        In the order of `stimulus_ids`, samples of a stimulus in a row.
    pictures : PictureFiles

    Raises
    ------
    InputError
        No folder, no picture in it, or one that is named after no test stimulus or after one twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name one that holds pictures after --images.")
    known = {str(name) for name in stimulus_ids}
    found, strangers = {}, []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        whole = path.stem
        parts = _NAME.fullmatch(whole)
        # If the whole name is an id, take it as the id: an id may itself look like a name with additions.
        name, sample = (whole, 0) if whole in known else (parts["stimulus"], int(parts["sample"] or 0))
        if name not in known:
            strangers.append(path.name)
        elif (name, sample) in found:
            raise InputError(
                f"{path.name} and {found[name, sample].name} in {folder} are both sample {sample} of stimulus {name}; keep one."
            )
        else:
            found[name, sample] = path
    if strangers or not found:
        what = (
            f"{len(strangers)} pictures in {folder} are named after no test stimulus, the first is {strangers[0]}"
            if strangers
            else f"{folder} holds no picture ({', '.join(SUFFIXES)})"
        )
        raise InputError(f"{what}; name each after its stimulus, for example {next(iter(stimulus_ids))}.png.")
    order = {str(name): row for row, name in enumerate(stimulus_ids)}
    keys = sorted(found, key=lambda key: (order[key[0]], key[1]))
    return [name for name, _ in keys], PictureFiles([found[key] for key in keys])
