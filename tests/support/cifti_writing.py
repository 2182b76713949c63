"""CIFTI-2 files written by nibabel, of small hemispheres and a few voxels, without the toolkit."""

import nibabel
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
LEFT, RIGHT, THALAMUS, STEM = "CORTEX_LEFT", "CORTEX_RIGHT", "THALAMUS_LEFT", "BRAIN_STEM"


def cortex(rng, n_vertices=24, share=0.8):
    """Both hemispheres without a medial wall, each with a mask (n_vertices,)."""
    masks = [rng.random(n_vertices) < share for _ in range(2)]
    for mask in masks:
        mask[:2] = True, False
    left, right = (BrainModelAxis.from_mask(mask, name=name) for mask, name in zip(masks, (LEFT, RIGHT)))
    return left + right, masks


def whole_brain(rng, n_vertices=24, shape=(4, 3, 2)):
    """Both hemispheres, the left thalamus and the brain stem."""
    surface, masks = cortex(rng, n_vertices)
    order = rng.permutation(np.prod(shape))
    for name, own in ((THALAMUS, order[:3]), (STEM, order[3:5])):
        mask = np.zeros(np.prod(shape), bool)
        mask[own] = True
        surface = surface + BrainModelAxis.from_mask(mask.reshape(shape), affine=AFFINE, name=name)
    return surface, masks


def save_scalars(path, values, names, axis, dtype="<f4"):
    """Maps (n_maps, n_places)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Cifti2Image(np.asarray(values, dtype=dtype), (ScalarAxis(list(names)), axis))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
    image.nifti_header.set_data_dtype(np.dtype(dtype))
    nibabel.save(image, path)


def save_labels(path, keys, table, axis, name="labels"):
    """One map of keys (n_places,), and the name of each key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = {0: ("???", (0, 0, 0, 0))} | {key: (told, (1, 0, 0, 1)) for key, told in table.items()}
    image = Cifti2Image(np.asarray(keys, dtype=np.int32)[None], (LabelAxis([name], [labels]), axis))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_LABELS")
    nibabel.save(image, path)
