"""How large NSD's files are at most, reckoned from the shapes that its data manual gives; nobody need ask the bucket."""

VOLUMES = {
    "func1pt8mm": {
        "subj01": (81, 104, 83),
        "subj02": (82, 106, 84),
        "subj03": (81, 106, 82),
        "subj04": (85, 99, 80),
        "subj05": (79, 97, 78),
        "subj06": (85, 113, 83),
        "subj07": (78, 95, 81),
        "subj08": (80, 103, 78),
    },
    "func1mm": {
        "subj01": (145, 186, 148),
        "subj02": (146, 190, 150),
        "subj03": (145, 190, 146),
        "subj04": (152, 177, 143),
        "subj05": (141, 173, 139),
        "subj06": (152, 202, 148),
        "subj07": (139, 170, 145),
        "subj08": (143, 184, 139),
    },
    "MNI": dict.fromkeys((f"subj0{number}" for number in range(1, 9)), (182, 218, 182)),
}
"""Volume space -> subject -> (x, y, z) (NSD data manual, "Technical notes"; MNI as of FSL's MNI152_T1_1mm)."""

VERTICES = {
    "subj01": (227_021, 226_601),
    "subj02": (239_633, 239_309),
    "subj03": (240_830, 243_023),
    "subj04": (228_495, 227_262),
    "subj05": (197_594, 198_908),
    "subj06": (253_634, 259_406),
    "subj07": (198_770, 200_392),
    "subj08": (224_364, 224_398),
}
"""Subject -> vertices of the left and right native surface (NSD data manual, "Technical notes")."""

FSAVERAGE_VERTICES = 163_842
TRIALS_PER_SESSION = 750
PICTURES = 73_000 * 425 * 425 * 3
"""Bytes of `nsd_stimuli.hdf5`, 8-bit colours."""


def volume_bytes(subject, space, bytes_per_voxel):
    """Bytes of one volume before it is compressed; None for a subject that NSD does not have."""
    shape = VOLUMES[space].get(subject)
    return None if shape is None else shape[0] * shape[1] * shape[2] * bytes_per_voxel


def session_bytes(subject, space):
    """Bytes of one session's betas before they are compressed: int16, 750 trials."""
    volume = volume_bytes(subject, space, 2)
    return None if volume is None else TRIALS_PER_SESSION * volume


def hemisphere_bytes(subject, space, side, per_vertex):
    """Bytes of a file of one hemisphere that has so many for each vertex; None for a subject that NSD does not have."""
    if space == "fsaverage":
        return FSAVERAGE_VERTICES * per_vertex
    return VERTICES[subject][side == "rh"] * per_vertex if subject in VERTICES else None
