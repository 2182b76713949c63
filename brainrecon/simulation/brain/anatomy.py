"""A small brain: two hemispheres, a cortical ribbon, and NSD's atlases laid out on it.

Each hemisphere is an ellipsoid whose outer shell is the cortical ribbon. Seen from the occipital pole, the
distance from the pole leads from the centre of the visual field outwards and then to higher areas; the angle
around the pole runs from medial over dorsal to lateral and ventral. V1 lies medially, V2 and V3 flank it
dorsally and ventrally, hV4 follows ventrally, and the ventral, lateral and parietal streams lie in front of
them. Areas are cut by rank along these two directions, which gives each its planned share of voxels and
leaves none empty.
"""

from dataclasses import dataclass

import numpy as np

from stages.ground.errors import InputError

ATLASES = {
    "nsdgeneral": ("nsdgeneral",),
    "prf-visualrois": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"),
    "prf-eccrois": ("ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4+"),
    "streams": ("early", "midventral", "midlateral", "midparietal", "ventral", "lateral", "parietal"),
    "floc-faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "floc-words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "floc-places": ("OPA", "PPA", "RSC"),
    "floc-bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
}
"""Names of the labels 1, 2, … of each atlas; 0 is cortex without a label, -1 lies outside the cortex."""

PICTURE_DEGREES = 8.4
"""Width of a picture in degrees of visual angle, as in NSD."""

VOXEL_MILLIMETRES = 1.8
"""Side of a voxel."""

NEAREST_ECCENTRICITY, FARTHEST_ECCENTRICITY = 0.2, 5.6
"""Eccentricities of the first and last receptive fields, degrees; 5.9 is a picture's corner."""

FEWEST_VOXELS = 160
"""Below this some area would have no voxel in one of the hemispheres."""

EARLY_SHARE = 0.48
"""Share of nsdgeneral that lies in V1 to hV4; the rest belongs to the streams."""

BEYOND_SHARE = 0.4
"""Cortex outside nsdgeneral, relative to its size; half of it carries a stream label."""

# From lateral over ventral, medial and dorsal back to lateral: share of the early voxels, and the polar angle
# of the receptive fields (degrees above the horizontal meridian) where the area starts and where it ends.
_RETINOTOPIC = (
    ("hV4", 0.18, -80.0, 80.0),
    ("V3v", 0.12, 88.0, 0.0),
    ("V2v", 0.13, 0.0, 88.0),
    ("V1v", 0.16, 88.0, 0.0),
    ("V1d", 0.16, 0.0, -88.0),
    ("V2d", 0.13, -88.0, 0.0),
    ("V3d", 0.12, 0.0, -88.0),
)

# From medial over ventral and lateral to dorsal: a stream's share of the higher voxels, and its bands in that
# same direction: share of the stream and the labels along the band from posterior to anterior (None: no
# functional label).
_STREAMS = (
    ("ventral", 0.45, (
        (0.26, ("PPA",)),
        (0.12, (None,)),
        (0.22, ("FFA-1", "FFA-2", "aTL-faces")),
        (0.16, ("FBA-1", "FBA-2")),
        (0.24, ("VWFA-1", "VWFA-2", "mfs-words")),
    )),
    ("lateral", 0.33, (
        (0.20, ("OFA", "mTL-faces")),
        (0.22, (None,)),
        (0.20, ("OWFA", "mTL-words")),
        (0.38, ("EBA", "mTL-bodies")),
    )),
    ("parietal", 0.22, (
        (0.30, ("OPA",)),
        (0.40, (None,)),
        (0.30, ("RSC",)),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """One subject's cortex.

    Attributes
    ----------
    shape : tuple (x, y, z)
        Size of the volumes, voxels.
    brain : array of shape (x, y, z), bool
        The liberal brain mask; betas are zero outside it.
    ribbon : array of shape (n_cortex, 3), int
        Grid position of every cortical voxel, in C order of (x, y, z).
    right : array of shape (n_cortex,), bool
        Whether a voxel lies in the right hemisphere.
    labels : dict of str to int16 array of shape (n_cortex,)
        For each of `ATLASES` the label of every cortical voxel, 0 where it has none.
    eccentricity, polar_angle : array of shape (n_cortex,), float32
        Centre of the receptive field, degrees of visual angle, and degrees counter-clockwise from the right
        horizontal meridian. The right hemisphere sees the left half of the picture.
    """

    shape: tuple[int, int, int]
    brain: np.ndarray
    ribbon: np.ndarray
    right: np.ndarray
    labels: dict[str, np.ndarray]
    eccentricity: np.ndarray
    polar_angle: np.ndarray

    @property
    def n_cortex(self) -> int:
        return len(self.ribbon)

    @property
    def in_brain(self) -> np.ndarray:
        """Rows of an array over the brain mask's voxels that are cortex: int array of shape (n_cortex,)."""
        row = np.cumsum(self.brain).reshape(self.shape) - 1
        return row[tuple(self.ribbon.T)]

    def within(self, atlas: str, *names: str) -> np.ndarray:
        """Cortical voxels that carry one of these labels, as a bool array of shape (n_cortex,)."""
        return np.isin(self.labels[atlas], [1 + ATLASES[atlas].index(name) for name in names])

    def volume(self, values: np.ndarray, outside) -> np.ndarray:
        """Lay one value per cortical voxel into a volume of `shape`, with `outside` everywhere else."""
        volume = np.full(self.shape, outside, dtype=np.asarray(values).dtype)
        volume[tuple(self.ribbon.T)] = values
        return volume


def grow_anatomy(n_voxels: int, generator: np.random.Generator) -> Anatomy:
    """Lay out a cortex with `n_voxels` in nsdgeneral; of an odd number the left hemisphere has one more.

    Raises
    ------
    InputError
        If `n_voxels` cannot fill every area of both hemispheres.
    """
    if n_voxels < FEWEST_VOXELS:
        raise InputError(
            f"{n_voxels} voxels cannot fill every visual area of two hemispheres, which takes "
            f"{FEWEST_VOXELS}; give --voxels {FEWEST_VOXELS} or more."
        )
    left, right = n_voxels - n_voxels // 2, n_voxels // 2
    radii = np.array([0.5, 1.0, 0.7]) * generator.uniform(0.93, 1.07, 3)
    scale = 3.0
    while (hemisphere := _hemisphere(scale * radii))[1].sum() < round((1 + BEYOND_SHARE) * left):
        scale *= 1.03
    brain, ribbon, from_pole, around = hemisphere

    # The hemisphere drawn is the left one: x grows towards the midline, as in volumes in RAS orientation.
    positions, fields = [], []
    for is_right, size in ((False, left), (True, right)):
        nearest = np.argsort(from_pole[ribbon], kind="stable")[: round((1 + BEYOND_SHARE) * size)]
        position = np.argwhere(ribbon)[nearest]
        field = _lay_out(from_pole[ribbon][nearest], around[ribbon][nearest], size)
        if is_right:
            position[:, 0] = 2 * brain.shape[0] - 1 - position[:, 0]
            field["polar_angle"] = (180.0 - field["polar_angle"]) % 360.0
        positions.append(position)
        fields.append(field)
    position = np.concatenate(positions)
    order = np.lexsort(position.T[::-1])
    merged = {key: np.concatenate([field[key] for field in fields])[order] for key in fields[0]}
    return Anatomy(
        shape=(2 * brain.shape[0], *brain.shape[1:]),
        brain=np.concatenate([brain, brain[::-1]]),
        ribbon=position[order],
        right=np.repeat([False, True], [len(part) for part in positions])[order],
        labels={atlas: merged[atlas] for atlas in ATLASES},
        eccentricity=merged["eccentricity"],
        polar_angle=merged["polar_angle"],
    )


def _hemisphere(radii):
    """Masks of brain and ribbon in a left hemisphere, and each voxel's two angles on it, radians."""
    axes = [np.arange(n) - (n - 1) / 2 for n in np.ceil(2 * radii).astype(int) + 3]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) / radii
    radius = np.linalg.norm(grid, axis=-1)
    x, y, z = np.moveaxis(grid / np.maximum(radius, 1e-9)[..., None], -1, 0)
    from_pole = np.arccos(np.clip(-y, -1, 1))
    around = np.arctan2(z, x)
    return radius <= 1.1, (radius <= 1.0) & (radius > 0.72), from_pole, around


def _lay_out(from_pole, around, n_general):
    """Label one hemisphere's ribbon voxels, which come ordered by their distance from the pole."""
    n = len(from_pole)
    result = {atlas: np.zeros(n, np.int16) for atlas in ATLASES}
    result["nsdgeneral"][:n_general] = 1
    early = np.arange(round(EARLY_SHARE * n_general))
    higher = np.arange(len(early), n_general)
    beyond = np.arange(n_general, n_general + (n - n_general) // 2)

    def label(atlas, voxels, name):
        result[atlas][voxels] = 1 + ATLASES[atlas].index(name)

    eccentricity = np.empty(n, np.float32)
    polar_angle = np.empty(n, np.float32)
    steps = (np.arange(len(early)) + 0.5) / len(early)
    eccentricity[early] = NEAREST_ECCENTRICITY + (FARTHEST_ECCENTRICITY - NEAREST_ECCENTRICITY) * steps
    parts = _cut(early[np.argsort(around[early], kind="stable")], [share for _, share, _, _ in _RETINOTOPIC])
    for (name, _, start, end), part in zip(_RETINOTOPIC, parts, strict=True):
        label("prf-visualrois", part, name)
        label("streams", part, "midventral" if name == "hV4" else "early")
        polar_angle[part] = start + (end - start) * (np.arange(len(part)) + 0.5) / len(part)
    bands = np.digitize(eccentricity[early], [0.5, 1.0, 2.0, 4.0])
    result["prf-eccrois"][early] = 1 + bands

    # Higher areas: angle measured from the medial wall over ventral and lateral to dorsal.
    turned = (-around) % (2 * np.pi)
    higher = higher[np.argsort(turned[higher], kind="stable")]
    streams = _cut(higher, [share for _, share, _ in _STREAMS])
    borders = [turned[stream[-1]] for stream in streams[:-1]]
    for (name, _, bands), stream in zip(_STREAMS, streams, strict=True):
        for (_, names), band in zip(bands, _cut(stream, [share for share, _ in bands]), strict=True):
            along = np.sort(band)
            for functional, part in zip(names, _cut(along, [1.0] * len(names)), strict=True):
                if functional is not None:
                    label(next(atlas for atlas in ATLASES if functional in ATLASES[atlas]), part, functional)
        label("streams", stream, name)
        if name != "ventral":
            label("streams", np.sort(stream)[: max(1, len(stream) // 3)], f"mid{name}")
    for voxel in beyond:
        label("streams", voxel, _STREAMS[int(np.searchsorted(borders, turned[voxel]))][0])

    # Receptive fields of higher areas: wide, ordered less strictly, every eccentricity near every place.
    rest = np.arange(len(early), n)
    golden = (np.arange(len(rest)) * 0.6180339887) % 1.0
    eccentricity[rest] = 0.3 + 3.7 * golden
    polar_angle[rest] = 85.0 * np.sin(3.0 * turned[rest])
    result.update(eccentricity=eccentricity, polar_angle=polar_angle)
    return result


def _cut(voxels, shares):
    """Cut an ordered array into consecutive parts with the given shares, at least one voxel each."""
    shares = np.asarray(shares, float) / np.sum(shares)
    spare = len(voxels) - len(shares)
    sizes = 1 + np.floor(np.cumsum(shares) * spare + 1e-9).astype(int)
    ends = sizes + np.arange(len(shares))
    ends[-1] = len(voxels)
    return np.split(voxels, ends[:-1])
