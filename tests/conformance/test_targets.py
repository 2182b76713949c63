"""Laws of every target: what a stimulus is worth does not depend on who else is encoded, and the target says what it is."""

import json

import numpy as np
import pytest
import random_blip
import random_caffenet
import random_checkpoints
import random_git
import random_optimus
import random_vgg19
import single_files
import torch

from stages.ground.errors import InputError
from stages.networks.face_vaegan import FaceVAEGAN, FaceVAEGANConfig
from stages.targets.autoencoder_latents import AutoencoderLatents
from stages.targets.blip import BLIPStates
from stages.targets.caffenet_layers import CaffeNetLayer
from stages.targets.caption_vectors import CLIPCaptionVectors
from stages.targets.class_features import ClassFeatures
from stages.targets.clip import CLIPClassToken, CLIPImageTokens, CLIPImageVector, CLIPTextTokens, CLIPTextVector
from stages.targets.clip_layers import CLIPLayer
from stages.targets.clip_text_states import CLIPTextStates
from stages.targets.codebook_latents import CodebookLatents
from stages.targets.colour_map import ColourMap
from stages.targets.contour import Contour
from stages.targets.depth_map import DepthMap, DrawnDepthMap
from stages.targets.diffusion_text import DiffusionTextTokens
from stages.targets.evaluation_layers import EvaluationLayer
from stages.targets.face_latents import FaceLatents
from stages.targets.git import GITStates
from stages.targets.instance_features import InstanceFeatures
from stages.targets.ip_tokens import IPTokens
from stages.targets.network_layers import Units
from stages.targets.optimus import OptimusLatents
from stages.targets.place_features import PlaceFeatures
from stages.targets.silhouette import DrawnSilhouette, Silhouette
from stages.targets.unclip_tokens import UnclipTokens
from stages.targets.vdvae import VDVAELatents
from stages.targets.vgg19_layers import VGG19Layer
from stages.targets.vq_tokens import VQTokens
from weights import store


def diffusion_text(folder):
    random_checkpoints.save_generator("sd", folder / "sd")
    return DiffusionTextTokens.from_pretrained(folder / "sd")


def autoencoder(folder):
    return AutoencoderLatents.from_pretrained(store.path("tiny-generator"), size=64)


def codebook(folder):
    return CodebookLatents.from_pretrained(single_files.save_classes(folder / "classes"))


def places(folder):
    random_checkpoints.convert_place_teacher(folder / "places")
    return PlaceFeatures.from_pretrained(folder / "places", size=64)


def faces(folder):
    FaceVAEGAN(FaceVAEGANConfig(picture=32, channels=(4, 6, 8), hidden=9, latents=10)).save_pretrained(folder / "faces")
    return FaceLatents.from_pretrained(folder / "faces")


def vgg19_layer(folder):
    random_vgg19.save_vgg19(folder / "vgg19")
    return VGG19Layer.from_pretrained(folder / "vgg19", "conv3_4", channels="RGB")


def caffenet_layer(folder):
    random_caffenet.save_caffenet(folder / "caffenet")
    return CaffeNetLayer.from_pretrained(folder / "caffenet", "fc6", units=Units(20, 2501, ("conv1", "fc6")))


def resnet(folder):
    random_checkpoints.save_resnet(folder / "resnet")
    return ClassFeatures.from_pretrained(folder / "resnet", size=32)


def sentences(folder):
    random_optimus.convert_authors_optimus(folder / "optimus")
    return OptimusLatents.from_pretrained(
        folder / "optimus", tokenizer=random_optimus.save_cased_tokenizer(folder / "words")
    )


def depth_map(folder):
    return DepthMap.from_pretrained(random_checkpoints.save_dpt(folder / "dpt"), side=4)


def silhouette(folder):
    random_checkpoints.save_deeplab(folder / "deeplab")
    return Silhouette.from_pretrained(folder / "deeplab", side=8, size=32)


def blip(folder):
    random_blip.save_blip(folder)
    return BLIPStates.from_pretrained(folder, size=32)


def ip_tokens(folder):
    adapter = random_checkpoints.save_adapter_plus(folder / "adapter", embed_dim=128)
    return IPTokens.from_pretrained(store.path("tiny-clip"), adapter=adapter)


def git(folder):
    random_git.save_git(folder)
    return GITStates.from_pretrained(folder)


# Name -> ``make(folder)``.
TARGETS = {
    "vdvae": lambda folder: VDVAELatents.from_pretrained(store.path("tiny-vdvae")),
    "clip image tokens": lambda folder: CLIPImageTokens.from_pretrained(store.path("tiny-clip")),
    "clip image vector": lambda folder: CLIPImageVector.from_pretrained(store.path("tiny-clip")),
    "clip hidden layer": lambda folder: CLIPLayer.from_pretrained(store.path("tiny-clip"), layer="block 2", size=48),
    "clip class token": lambda folder: CLIPClassToken.from_pretrained(store.path("tiny-clip")),
    "clip text states": lambda folder: CLIPTextStates.from_pretrained(store.path("tiny-clip")),
    "clip text tokens": lambda folder: CLIPTextTokens.from_pretrained(store.path("tiny-clip")),
    "ip tokens": ip_tokens,
    "unclip tokens": lambda folder: UnclipTokens.from_pretrained(store.path("tiny-clip")),
    "clip text vector": lambda folder: CLIPTextVector.from_pretrained(store.path("tiny-clip")),
    "clip caption vectors": lambda folder: CLIPCaptionVectors.from_pretrained(store.path("tiny-clip"), n_captions=2),
    "instance features": lambda folder: InstanceFeatures.from_pretrained(store.path("tiny-clip")),
    "diffusion text": diffusion_text,
    "autoencoder latents": autoencoder,
    "codebook latents": codebook,
    "vq tokens": lambda folder: VQTokens.from_pretrained(store.path("tiny-label2img")),
    "places": places,
    "face latents": faces,
    "vgg19 layer": vgg19_layer,
    "caffenet layer": caffenet_layer,
    "evaluation layer": lambda folder: EvaluationLayer.from_pretrained(store.path("tiny-evaluation"), "maps6"),
    "class features": resnet,
    "class features, drawn": lambda folder: ClassFeatures.from_pretrained(store.path("tiny-evaluation")),
    "optimus": sentences,
    "blip states": blip,
    "git states": git,
    "contour": lambda folder: Contour(size=64),
    "colour map": lambda folder: ColourMap(),
    "depth map": depth_map,
    "depth map, drawn": lambda folder: DrawnDepthMap(side=16),
    "silhouette": silhouette,
    "silhouette, drawn": lambda folder: DrawnSilhouette(side=16),
}


@pytest.fixture(scope="module", params=TARGETS)
def target(request, tmp_path_factory):
    return TARGETS[request.param](tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def stimuli(target):
    """Five of what the target takes: pictures, or captions of stimuli that have one or several."""
    if target.takes == "captions":
        # The random tokenizer knows two words.
        return [["a"], ["b"], ["a b"], ["b a"], ["a", "b"]]
    random = np.random.default_rng(0)
    return random.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def values(target, stimuli):
    return np.asarray(target.encode(stimuli))


def test_a_row_per_stimulus_of_the_shape_that_it_says(target, values):
    assert values.shape == (5, target.n_targets) and values.dtype == np.float32 and np.isfinite(values).all()
    assert int(np.prod(target.shape)) == target.n_targets
    assert len(np.unique(values, axis=0)) == 5


def test_one_alone_is_the_same_as_in_a_batch(target, stimuli, values):
    # To float rounding: kernels differ with the size of the batch.
    for row in range(5):
        alone = np.asarray(target.encode(stimuli[row : row + 1]))[0]
        np.testing.assert_allclose(alone, values[row], atol=1e-4 * values.std(), rtol=1e-4)


def test_the_order_makes_no_difference(target, stimuli, values):
    turned = np.asarray(target.encode(stimuli[::-1]))[::-1]
    np.testing.assert_allclose(turned, values, atol=1e-4 * values.std(), rtol=1e-4)


def test_twice_is_the_same_and_nothing_of_the_global_random_state_is_used(target, stimuli, values):
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    np.testing.assert_array_equal(np.asarray(target.encode(stimuli)), values)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_its_preprocessing_is_plain_data(target):
    assert json.loads(json.dumps(target.preprocessing)) == target.preprocessing
    assert target.takes in ("images", "captions") and isinstance(target.name, str)


def test_what_it_cannot_take_is_refused_in_a_sentence(target, stimuli):
    wrong = ["no list of captions", 3] if target.takes == "captions" else stimuli.astype(np.float32)
    with pytest.raises((InputError, TypeError, ValueError)) as error:
        target.encode(wrong)
    assert len(str(error.value)) > 10


@pytest.mark.parametrize("wrong", ["floats of 0 to 255", "floats of 0 to 1", "16 bits", "bools", "binary"])
def test_pictures_whose_range_is_not_what_their_type_says_are_refused(target, stimuli, wrong):
    if target.takes == "captions":
        pytest.skip("it takes no pictures")
    given = {
        "floats of 0 to 255": stimuli.astype(np.float32),
        "floats of 0 to 1": stimuli / 255,
        "16 bits": stimuli.astype(np.int16),
        "bools": stimuli > 127,
        "binary": (stimuli > 127).astype(np.uint8),
    }[wrong]
    with pytest.raises(InputError, match="uint8") as error:
        target.encode(given)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_what_can_be_decoded_becomes_pictures_again(target, values):
    if not hasattr(target, "decode"):
        pytest.skip("it is no target that decodes")
    pictures = target.decode(values, batch_size=2)
    assert pictures.dtype == np.uint8 and pictures.shape[0] == 5 and pictures.shape[-1] == 3
    alone = target.decode(values[1:2], batch_size=1)[0]
    assert np.abs(alone.astype(int) - pictures[1]).max() <= 1
