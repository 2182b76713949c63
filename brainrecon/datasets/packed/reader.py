"""Data that people have on disk from another repository: Brain-Diffuser, MindEye, MindEye2 or MinD-Vis.

Which of the four layouts lies at a path is told from the names of its files; each has its own module. These are
derived copies, and less than their originals: what is lost is in the subject's notes.
"""

from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.packed import brain_diffuser as packed_brain_diffuser
from brainrecon.datasets.packed import mind_vis as packed_mind_vis
from brainrecon.datasets.packed import mindeye1 as packed_mindeye1
from brainrecon.datasets.packed import mindeye2 as packed_mindeye2
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

LAYOUTS = (packed_brain_diffuser, packed_mindeye1, packed_mindeye2, packed_mind_vis)

DESCRIPTION = Description(
    measured=(
        "derived copies of fMRI of people who saw photographs: of the Natural Scenes Dataset (NSD), as Brain-Diffuser "
        "averages it over repeats or MindEye and MindEye2 z-score it by session, or of generic object decoding (GOD), as "
        "MinD-Vis passes it on"
    ),
    available=(
        "what github.com/ozcelikfu/brain-diffuser makes of NSD; huggingface.co/datasets/pscotti/naturalscenesdataset; "
        "huggingface.co/datasets/pscotti/mindeyev2, with nsd_expdesign.mat from NSD's bucket; "
        "figshare.com/s/94cd778e6afafb00946e for MinD-Vis; the terms of the originals hold for every copy (NSD's access form, "
        "and a request to the authors for GOD's pictures)"
    ),
    citation=(
        "NSD: Allen et al. 2022, Nature Neuroscience 25:116-126, doi 10.1038/s41593-021-00962-x; GOD: Horikawa & Kamitani "
        "2017, Nature Communications 8:15037, doi 10.1038/ncomms15037; and the repository that made the copy"
    ),
    licence="not stated in the copies: that of the original, which is the NSD Terms and Conditions for copies of NSD",
    pictures="photographs",
)


def subjects(path):
    """Names of the subjects found at `path`, sorted."""
    return list(recognise(path)[1])


def load(path, subject=None, roi=None, design=None, mask=None, val=None, copies=None):
    """Load one subject of a packed data set.

    Parameters
    ----------
    path : pathlib.Path
        The folder of one of the layouts, see `brainrecon.datasets.packed.brain_diffuser`,
        `brainrecon.datasets.packed.mindeye1`, `brainrecon.datasets.packed.mindeye2` and
        `brainrecon.datasets.packed.mind_vis`, or a subject's file in it.
    subject : str, optional
        ``subj01``; by default the first there.
    roi : str, optional
        MinD-Vis: a region of the file, ``all``, or several joined by "+" and "-"; by default ``VC``. The other layouts
        know only ``nsdgeneral``, which is all that they hold.
    design : path, optional
        MindEye2: NSD's ``nsd_expdesign.mat``; by default the one next to the betas or below their folder.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel of the file.
    val : {"train", "apart"}, optional
        MindEye: whether pictures of its archives val are trained on, as by default, or are a split of their own.
    copies : bool, optional
        MindEye: whether rows count as trials that repeat those of a picture that was shown less often; by default not.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Betas and pictures of Brain-Diffuser, MindEye and MindEye2 stay on disk until they are asked for.

    Raises
    ------
    InputError
        No layout is recognised, or files are absent, damaged or at odds with each other.
    """
    layout, found = recognise(path)
    if subject is not None and subject not in found:
        raise InputError(
            f"{path} holds no {subject} but {', '.join(found)} ({layout.NAME}){did_you_mean(subject, found)}; choose one "
            "of these."
        )
    subject = subject or next(iter(found))
    options = {
        name: value for name, value in (("design", design), ("val", val), ("copies", copies)) if value is not None
    }
    for name, value in options.items():
        if name not in getattr(layout, "OPTIONS", ()):
            raise InputError(
                f"{path} is of {layout.NAME}'s layout, where no {name} is needed, but one was given ({value}); leave "
                f"the {name} out."
            )
    return layout.load(found[subject], subject, roi, f"packed:{path}", mask, **options)


def files(path, subject=None, design=None):
    """The files of one subject; of all four layouts where none is recognised."""
    layouts = [layout for layout in LAYOUTS if layout.find(path)] or LAYOUTS
    options = {packed_mindeye2: {"design": design}}
    return [row for layout in layouts for row in layout.files(path, subject, **options.get(layout, {}))]


def recognise(path):
    """Which layout lies at `path`.

    Returns
    -------
    layout : module
        One of `LAYOUTS`.
    found : dict of str to pathlib.Path
        Its subjects, sorted, and where each lies.

    Raises
    ------
    InputError
        There is nothing at the path, none of the layouts, or more than one.
    """
    if not path.exists():
        raise InputError(f"There is no {path}; give the folder that holds the files, as packed:FOLDER.")
    found = {layout: subjects for layout in LAYOUTS if (subjects := layout.find(path))}
    if len(found) > 1:
        raise InputError(
            f"{path} holds the files of {' and '.join(layout.NAME for layout in found)}; give the folder, or a file, of "
            "one of them."
        )
    if not found:
        expected = ", ".join(f"{layout.NAME} ({layout.EXAMPLE})" for layout in LAYOUTS)
        raise InputError(
            f"{path} holds none of the layouts that packed reads: {expected}; give the folder that holds such files."
        )
    return next(iter(found.items()))


DESIGN = Option(
    "design", "path of nsd_expdesign.mat, for MindEye2; by default the one next to the betas", for_files=True
)
VAL = Option("val", "of MindEye: train or apart; whether its val pictures are trained on, as by default, or a split")
COPIES = Option("copies", "of MindEye, true: rows that repeat a picture's few trials count too; by default false")
register("packed", DatasetOf(DESCRIPTION, subjects, load, files, (DESIGN, VAL, COPIES, OWN_MASK)))
