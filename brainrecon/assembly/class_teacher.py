"""What a new subject is taught: features that a frozen decoder has for samples of other subjects of the same class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainrecon.assembly.values import Training
from brainrecon.datasets.folds import category_names
from stages.ground.errors import InputError
from stages.training.class_partners import class_partners

CLUSTERS, CATEGORIES = "clusters", "categories"
CLASSES = (CLUSTERS, CATEGORIES)
_ROWS_AT_A_TIME = 256


@dataclass(frozen=True)
class ClassTeacher:
    """Features of the trunk for a sample of the same class, as `brainrecon.assembly.learn.Learn` derives values.

    The teacher is the decoder as it was fitted on the subjects before, and is not changed. Its samples are averaged training
    responses of those subjects, never of the new one, and of no stimulus that the new one is tested on. It is a network with
    ``features(patterns)``.

    Attributes
    ----------
    shape : tuple of int
        Of a row: the features.
    embedding : str
        Value by whose target pictures are clustered; rows begin with the vector that is compared.
    n_values : callable
        ``n_values() -> int``: how many values that vector has.
    classes : {"clusters", "categories"}
        Clusters (k-means) of the vectors, at unit length, of the pictures that the subjects before learned from, to the nearest
        of which each picture of the new one belongs; or categories that the dataset names, all of a stimulus together.
    n_clusters : int
        Fewer if there are fewer distinct pictures.
    seed : int
        Of the clusters and of the draw.
    device : str
    table : str
        Of the system's settings, that errors advise in.
    """

    shape: tuple[int, ...]
    embedding: str
    n_values: Any
    classes: str = CLUSTERS
    n_clusters: int = 40
    seed: int = 0
    device: str = "cpu"
    table: str = "distillation"

    def __call__(self, training: Training, pretrained) -> np.ndarray | None:
        """Features for each training stimulus of the one subject, float32 (n_stimuli, *shape); None without subjects before.

        Parameters
        ----------
        training : Training
        pretrained : path, optional
            Folder of the decoder that was fitted on the subjects before.

        Raises
        ------
        InputError
            The decoder is there but not the data that it was fitted on, or nobody before saw anything of a class.
        """
        if pretrained is None:
            return None
        student = training.subject
        if not training.pretraining:
            raise InputError(
                f"Samples of the subjects before are to teach {student.name}, but only their decoder is there; name them with "
                f"--subjects, or pass --set {self.table}.weight=0 --set {self.table}.mixed_weight=0."
            )
        tested = student.test.stimulus_ids
        kept = {
            name: np.flatnonzero(~np.isin(one.train.stimulus_ids, tested)) for name, one in training.pretraining.items()
        }
        own, others = self._classes(training, kept)
        partners = class_partners(student.name, student.train.stimulus_ids.tolist(), own, others, self.seed)
        found = np.empty((len(partners.rows), *self.shape), dtype=np.float32)
        for name, features in self._features(training, pretrained, kept, partners):
            found[partners.subjects == name] = features
        return found

    def _classes(self, training, kept):
        """Classes of the new subject's stimuli, and by name those of the others' samples."""
        student = training.subject
        if self.classes == CATEGORIES:
            named = {name: category_names(one) for name, one in training.pretraining.items()}
            return category_names(student), {name: [named[name][row] for row in rows] for name, rows in kept.items()}
        from sklearn.cluster import KMeans

        vectors = {name: self._vectors(training, name)[rows] for name, rows in kept.items()}
        known = np.concatenate(list(vectors.values()))
        n_clusters = min(self.n_clusters, len(np.unique(known, axis=0)))
        clusters = KMeans(n_clusters, n_init=4, random_state=self.seed).fit(known)
        others = {name: clusters.predict(own).tolist() for name, own in vectors.items()}
        return clusters.predict(self._vectors(training, student.name)).tolist(), others

    def _vectors(self, training, name):
        """Vectors of a subject's training pictures, of unit length."""
        table = training.features((self.embedding,), subject=name)[self.embedding]
        vectors = np.asarray(table.columns(0, self.n_values()), dtype=np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _features(self, training, pretrained, kept, partners):
        """For each subject that teaches, its name and the features of its partners in their order."""
        import torch

        from stages.decoders.trained import TrainedDecoder

        network = TrainedDecoder.from_pretrained(pretrained, device=self.device).network
        for name, rows in kept.items():
            asked = rows[partners.rows[partners.subjects == name]]
            patterns, found = training.pretraining[name].train.patterns, []
            for first in range(0, len(asked), _ROWS_AT_A_TIME):
                block = np.array(patterns[asked[first : first + _ROWS_AT_A_TIME]], dtype=np.float32)
                with torch.inference_mode():
                    values = network.voxels(name)(torch.from_numpy(block).to(self.device))
                    found.append(network.network.features({name: values}).float().cpu().numpy())
            if found:
                yield name, np.concatenate(found)
