"""Networks of protocols: what a kind takes, and what is refused before anything is read."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest

from brainrecon.evaluation.protocols.protocol import available, load_protocol
from brainrecon.evaluation.protocols.specs import NetworkSpec
from brainrecon.evaluation.views import networks
from brainrecon.evaluation.views.networks import KINDS, check_network, load_network
from brainrecon.evaluation.views.resize_and_crop import Preparation, Resize
from stages.ground.errors import InputError
from weights.store import CheckpointError

NORMALISED = Preparation(Resize(64, "bilinear", True), None, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def spec(kind, layer=None, preparation=None, checkpoint="some"):
    preparation = preparation or (NORMALISED if KINDS[kind].prepared else Preparation())
    return NetworkSpec("judge", kind, checkpoint, layer or KINDS[kind].layers[0], "a judge", preparation)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_a_class_that_loads_and_does_what_it_is_asked(kind):
    entry = KINDS[kind]
    network = getattr(import_module(entry.module), entry.class_name)
    assert callable(network.from_pretrained)
    assert callable(network.distance if entry.layers == ("distance",) else network.embed)
    if hasattr(network, "layers"):
        assert network.layers == entry.layers


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_given_its_folder_its_layer_and_its_device(kind, monkeypatch, tmp_path):
    asked = {}

    class Stub:
        @classmethod
        def from_pretrained(cls, *arguments, **options):
            asked.update(arguments=arguments, options=options)
            return cls()

    monkeypatch.setattr(networks.store, "path", lambda name: tmp_path / name)
    monkeypatch.setattr(networks, "import_module", lambda name: type("", (), {KINDS[kind].class_name: Stub}))
    layer = KINDS[kind].layers[-1]
    assert isinstance(load_network(spec(kind, layer), "cuda"), Stub)
    told = (layer,) if KINDS[kind].chooses_layer else ()
    assert asked == {"arguments": (tmp_path / "some", *told), "options": {"device": "cuda"}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_the_pictures_has_to_be_the_one_that_the_kind_takes(kind):
    prepared = KINDS[kind].prepared
    wrong = Preparation(Resize(64, "bilinear", True)) if prepared else NORMALISED
    words = "has no mean and std" if prepared else r"has mean \(0.5, 0.5, 0.5\)"
    with pytest.raises(InputError, match=f"judge {words}.*{kind}") as caught:
        check_network(spec(kind, preparation=wrong))
    assert "\n" not in str(caught.value)
    assert check_network(spec(kind)) is KINDS[kind]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": "magic"}, "'magic'.*evaluation_network"),
        ({"layer": "features.3"}, "'features.3'.*features.4, features.5"),
        ({"checkpoint": "no-such"}, "no-such"),
    ],
)
def test_what_the_toolkit_lacks_is_refused_by_name(change, words):
    with pytest.raises((InputError, CheckpointError), match=words):
        load_network(dataclasses.replace(spec("alexnet"), **change))


def test_an_absent_checkpoint_says_where_it_is_from(monkeypatch, tmp_path):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError, match="absent.*https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"):
        load_network(spec("alexnet", checkpoint="alexnet-imagenet1k-v1"))


def test_the_embedded_networks_load_and_embed():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for one in load_protocol("brainrecon-1").networks.values():
        assert len(load_network(one).embed(images)) == 2


@pytest.mark.parametrize("name", available())
def test_every_protocol_of_the_toolkit_asks_for_what_there_is(name):
    for one in load_protocol(name).networks.values():
        assert check_network(one) is KINDS[one.kind]
