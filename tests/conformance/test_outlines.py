"""A target in outline, from its configuration alone, says all that the loaded one says, and holds no values."""

import gc
from weakref import WeakValueDictionary

import pytest

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system_class, system_names
from brainrecon.assembly.settings import with_weights
from stages.checkpoints.outlines import networks_in, weights_of
from stages.ground.errors import InputError


def sources():
    for name in system_names():
        kind = system_class(name)
        try:
            chain = Chain(kind(with_weights({}, kind, "tiny")))
        except InputError:
            continue  # nothing until its parts are named
        for value, source in chain.targets.items():
            if source.sketch is not None and all(one.startswith("tiny-") for one in source.checkpoints):
                yield pytest.param(source, id=f"{name}-{value}")


@pytest.mark.parametrize("source", list(sources()))
def test_an_outline_says_what_the_loaded_target_says(source):
    outline = source.outline
    assert not source.is_loaded
    target = source.target
    for said in ("name", "takes", "shape", "n_targets", "preprocessing"):
        assert getattr(outline, said) == getattr(target, said), said
    assert weights_of(outline) == weights_of(target) > 0
    assert {each.device.type for network in networks_in(outline) for each in network.parameters()} == {"meta"}
    source.free()
    assert not source.is_loaded


def test_image_and_text_share_one_clip_that_goes_with_the_last_of_them(monkeypatch):
    from stages.targets import open_clip_target

    # Fixtures of other files may hold one, too.
    monkeypatch.setattr(open_clip_target, "_in_use", WeakValueDictionary())
    kind = system_class("brain-diffuser")
    targets = Chain(kind(with_weights({}, kind, "tiny"))).targets
    image, text = targets["clip_image"], targets["clip_text"]
    assert image.target.model is text.target.model
    image.free()
    gc.collect()
    assert len(open_clip_target._in_use) == 1
    text.free()
    gc.collect()
    assert not open_clip_target._in_use
