"""A small system that goes from pictures to responses: ridge regression from a CLIP embedding to voxels."""

from dataclasses import dataclass, field

import numpy as np

from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import System
from stages.decoders.ridge.ridge import RidgeDecoder

ALPHA = 1000.0


@dataclass(frozen=True)
class Checkpoints:
    clip: str = "tiny-clip"


@dataclass(frozen=True)
class EncodingSettings:
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)


class Evoke(Step):
    """Responses from an embedding, by ridge."""

    reads, gives, is_learned = ("clip_image",), ("responses",), True

    def __init__(self):
        self.ridge = RidgeDecoder(alphas=ALPHA, rescale="none")

    def fit(self, training, workspace):
        table = np.asarray(training.features(("clip_image",))["clip_image"])
        self.ridge.fit_targets(table, {"responses": np.asarray(training.subject.train.patterns)})

    def run(self, items, values, *, seed=0):
        return {"responses": self.ridge.predict(np.asarray(values["clip_image"]))}

    def save(self, folder):
        self.ridge.save_pretrained(folder)

    def open(self, workspace):
        self.ridge = RidgeDecoder.from_pretrained(workspace.folder)


@system
class MadeUpEncoding(System):
    """The picture that was shown, its embedding, the responses to it."""

    name, explanation, settings_class = "made-up-encoding", "ridge from an embedding to voxels", EncodingSettings
    output = "responses"
    protocol = "brainrecon-1"

    def steps(self, machine):
        target = self.target("stages.targets.clip:CLIPImageVector", "clip", machine)
        return [Encode("shown", "clip_image", target), Evoke()]
