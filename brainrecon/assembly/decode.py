"""Stage one as a method's settings ask for it: which trials, which voxels, which decoder.

Everything here is learnt from the training split alone, voxels to leave out included.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.decoders.ridge import voxel_selection
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.ridge import ALPHAS, RidgeDecoder
from stages.decoders.ridge.ridge_solver import RESCALINGS
from stages.decoders.ridge.ridge_steps import HELD_OUT, KEEP, PENALTIES
from stages.decoders.ridge.target_blocks import read_columns, sketch
from stages.ground.errors import InputError
from weights.whole_files import write_text

KINDS = ("ridge", "banded_ridge")
TRIALS = ("averaged", "single")
SELECTIONS = ("all", "noise_ceiling", "correlation")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class DecoderSettings:
    """Stage one.

    Attributes
    ----------
    kind : {"ridge", "banded_ridge"}
        One penalty for all voxels, or one for each band of them: `stages.decoders.ridge.banded_ridge`, which needs himalaya.
    bands : tuple of str
        Regions of the subject that are a band each; voxels of none form one more.
    alpha : tuple of float, float, or dict of str to either
        Penalties to choose from; one value fixes it, a table gives each target its own.
    rescale : str, or dict of str to str
        As `stages.decoders.ridge.ridge.RidgeDecoder` takes it; a table gives each target its own way.
    penalty, sketch, held_out, keep
        As `stages.decoders.ridge.ridge.RidgeDecoder` takes them.
    trials : {"averaged", "single"}
        Train on patterns, each the average of a stimulus's trials, or on every trial by itself.
    voxels : {"all", "noise_ceiling", "correlation"}
        Rank voxels by the noise ceiling of the training patterns, or by their correlation with the targets of
        the training stimuli, and keep the best.
    top_voxels : int, optional
        How many to keep.
    least_noise_ceiling : float, optional
        Keep voxels from this noise ceiling on, in percent, however many they are.
    features : {"float32", "float16"}
        How the feature store holds the targets.
    """

    kind: str = "ridge"
    bands: tuple[str, ...] = ()
    alpha: tuple[float, ...] | float | dict[str, float] = ALPHAS
    rescale: str | dict[str, str] = "held_out"
    penalty: str = "group"
    sketch: int = 2048
    held_out: str = "tenth"
    keep: str = "auto"
    trials: str = "averaged"
    voxels: str = "all"
    top_voxels: int | None = None
    least_noise_ceiling: float | None = None
    features: str = "float32"

    def __post_init__(self):
        if self.keep == "factor":
            # As configurations of before have it.
            object.__setattr__(self, "keep", "factorisation")
        allowed = {
            "kind": KINDS,
            "penalty": PENALTIES,
            "held_out": HELD_OUT,
            "keep": KEEP,
            "trials": TRIALS,
            "voxels": SELECTIONS,
            "features": DTYPES,
        }
        for name, choices in allowed.items():
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"decoder.{name} is {value!r}; expected one of {', '.join(choices)}.")
        ways = self.rescale if isinstance(self.rescale, dict) else {"": self.rescale}
        for name, way in ways.items():
            if way not in RESCALINGS:
                where = f"decoder.rescale.{name}".rstrip(".")
                raise InputError(f"{where} is {way!r}; expected one of {', '.join(RESCALINGS)}.")
        if "held_out" in ways.values() and self.held_out == "none":
            raise InputError("decoder.held_out is 'none' but decoder.rescale is 'held_out'; set one of the two anew.")
        if (self.kind == "banded_ridge") != bool(self.bands):
            raise InputError(
                f"decoder.kind is {self.kind!r} with bands {list(self.bands)}; name regions for banded ridge, "
                'for example --set decoder.kind=banded_ridge --set \'decoder.bands=["V1", "V2"]\', and for ridge none.'
            )
        if self.bands and isinstance(self.rescale, dict):
            raise InputError(
                "decoder.rescale gives each target its own way, which banded ridge does not have; set decoder.rescale=held_out "
                "or none for all."
            )
        limits = (self.top_voxels is not None) + (self.least_noise_ceiling is not None)
        if self.voxels == "all" and limits:
            raise InputError(
                "decoder.voxels is 'all' but a limit on voxels is set; "
                "say what ranks them with --set decoder.voxels=noise_ceiling or correlation."
            )
        if self.voxels != "all" and limits != 1:
            raise InputError(
                f"decoder.voxels is {self.voxels!r} with {limits} limits; give one, for example "
                "--set decoder.top_voxels=2000"
                + (" or decoder.least_noise_ceiling=10." if self.voxels != "correlation" else ".")
            )
        if self.voxels == "correlation" and self.least_noise_ceiling is not None:
            raise InputError(
                "decoder.least_noise_ceiling is set but voxels are ranked by correlation; set decoder.top_voxels instead."
            )


class Decoding:
    """From a split's responses to a fitted decoder, and from patterns to embeddings.

    Parameters
    ----------
    settings : DecoderSettings
    device : str
    memory : float, optional
        Bytes that fitting may take.

    Attributes
    ----------
    decoder : stages.decoders.ridge.ridge.RidgeDecoder or stages.decoders.ridge.banded_ridge.BandedRidgeDecoder
    voxels : bool array of shape (n_voxels,), or None
        Those that were chosen; None for all.
    """

    def __init__(self, settings, device="cpu", memory=None):
        self.settings, self.voxels = settings, None
        if settings.kind == "banded_ridge":
            self.decoder = BandedRidgeDecoder(alphas=settings.alpha, rescale=settings.rescale)
            return
        self.decoder = RidgeDecoder(
            alphas=settings.alpha,
            rescale=settings.rescale,
            penalty=settings.penalty,
            sketch=settings.sketch,
            held_out=settings.held_out,
            keep=settings.keep,
            memory=memory,
            device=device,
        )

    def training(self, split, features):
        """Choose voxels, and give what the decoder is fitted on.

        Parameters
        ----------
        split : brainrecon.datasets.subject.Split
        features : dict of str to array-like of shape (n_stimuli, n_targets)
            Rows in the order of ``split.stimulus_ids``.

        Returns
        -------
        responses : array of shape (n_trials, n_voxels), float32
        stimuli : array of int, shape (n_trials,), or None where a row is a stimulus
        """
        self.voxels = self._chosen_voxels(split, features)
        if self.settings.trials == "averaged":
            return self.patterns(split.patterns), None
        return self.patterns(np.asarray(split.betas[:], dtype=np.float32)), split.positions

    def patterns(self, patterns):
        """The chosen voxels of patterns (n_stimuli, n_voxels)."""
        if self.voxels is None:
            return patterns
        if patterns.shape[1] != len(self.voxels):
            raise InputError(
                f"Patterns have {patterns.shape[1]:,} voxels but the decoder chose its voxels among {len(self.voxels):,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        return patterns[:, self.voxels]

    def fit(self, subject, features, progress=None):
        """Fit to the training split of a subject, in memory; ridge reads its targets by blocks all the same."""
        responses, stimuli = self.training(subject.train, features)
        if self.settings.kind == "banded_ridge":
            self.decoder.set_params(bands=self._bands(subject.rois))
            groups = {name: values.shape[1] for name, values in features.items()}
            values = np.hstack([np.asarray(values) for values in features.values()])
            self.decoder.fit(responses, values, groups=groups, stimuli=stimuli)
        else:
            self.decoder.fit_targets(responses, features, stimuli=stimuli, progress=progress)
        return self

    def _bands(self, rois):
        if unknown := [name for name in self.settings.bands if name not in rois]:
            raise InputError(
                f"There is no region {unknown[0]!r} to make a band of; expected some of {', '.join(sorted(rois))}."
            )
        return {name: self.patterns(np.asarray(rois[name])[None])[0] for name in self.settings.bands}

    def predict(self, patterns):
        """Embeddings of patterns: dict of target name to array of shape (n_stimuli, n_targets), float32."""
        return self.decoder.split(self.decoder.predict(self.patterns(patterns)))

    def save_voxels(self, folder):
        """Write the chosen voxels; nothing where all are used."""
        if self.voxels is not None:
            chosen = {"n_voxels": len(self.voxels), "voxels": np.flatnonzero(self.voxels).tolist()}
            write_text(Path(folder) / "voxels.json", json.dumps(chosen) + "\n")

    @classmethod
    def from_pretrained(cls, folder, settings, device="cpu"):
        """Open a decoder and the voxels it was fitted on."""
        decoding = cls(settings, device)
        if settings.kind == "banded_ridge":
            decoding.decoder = BandedRidgeDecoder.from_pretrained(folder)
        else:
            decoding.decoder = RidgeDecoder.from_pretrained(folder).set_params(device=device)
        path = Path(folder) / "voxels.json"
        if settings.voxels != "all":
            try:
                chosen = json.loads(path.read_text(encoding="utf-8"))
                decoding.voxels = np.zeros(chosen["n_voxels"], dtype=bool)
                decoding.voxels[chosen["voxels"]] = True
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                raise InputError(
                    f"{path} cannot be read ({error}); delete {folder} and fit again with `brainrecon fit`."
                ) from None
        return decoding

    def _chosen_voxels(self, split, features):
        settings = self.settings
        if settings.voxels == "all":
            return None
        if settings.voxels == "noise_ceiling":
            scores = voxel_selection.noise_ceiling(split.betas, split.trial_stimulus_ids)
            if settings.least_noise_ceiling is not None:
                return voxel_selection.at_least(scores, settings.least_noise_ceiling)
        else:
            columns = [
                np.asarray(read_columns(values, part))
                for name, values in features.items()
                for part in sketch(name, values.shape[1], settings.sketch, self.decoder.seed)
            ]
            scores = voxel_selection.correlation_with_targets(split.patterns, np.hstack(columns))
        return voxel_selection.strongest(scores, settings.top_voxels)
