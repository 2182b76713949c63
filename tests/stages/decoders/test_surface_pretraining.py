"""Pretraining on pictures of responses: what is learned, that an end in the middle changes nothing, what is read afterwards."""

import numpy as np
import pytest
import torch

from stages.adapters.surface_raster import SurfaceRaster
from stages.decoders.surface_pretraining import SurfacePictures, SurfacePretraining
from stages.ground.errors import InputError
from stages.networks.surface_autoencoder import SurfaceEncoder, read_encoder
from stages.training.recipe import OptimiserSpec, Recipe

SIZES = {
    **{"size": 16, "patch_size": 8, "width": 16, "depth": 1, "n_heads": 2},
    **{"bottleneck": 8, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2},
}
RECIPE = Recipe(steps=12, batch_size=8, optimiser=OptimiserSpec("adamw", 1e-2), validation=0.1, validate_every=4)


@pytest.fixture(scope="module")
def responses():
    """Of two subjects, whose voxels all follow two hidden values."""
    random = np.random.default_rng(0)
    return {
        name: (random.standard_normal((n, 2)) @ random.standard_normal((2, m)) + 5).astype(np.float32)
        for name, n, m in (("subj01", 30, 70), ("subj02", 26, 40))
    }


@pytest.fixture(scope="module")
def rasters():
    return {"subj01": SurfaceRaster.of_flat(np.random.default_rng(1).uniform(size=(70, 2)), side=16)}


def test_pictures_are_standardised_patterns_on_each_subjects_raster(responses, rasters):
    pictures = SurfacePictures(responses, 16, rasters)
    found = pictures[[33, 2]]
    one = responses["subj01"]
    standardised = torch.from_numpy((one - one.mean(axis=0)) / one.std(axis=0))
    expected = rasters["subj01"].to_raster(standardised[2:3])[0].numpy()
    np.testing.assert_allclose(found["pictures"][1], expected, atol=1e-4)
    assert (found["masks"][1, 0] == rasters["subj01"].mask).all()
    assert not found["pictures"][1][~found["masks"][1]].any() and not (found["masks"][0] == found["masks"][1]).all()
    assert len(pictures) == 56


def test_the_error_falls_and_the_last_step_is_the_same_after_an_end_in_the_middle(
    responses, rasters, tmp_path, monkeypatch
):
    whole = SurfacePretraining(RECIPE, SIZES, rasters=rasters).fit(responses, folder=tmp_path / "whole")
    whole.save_pretrained(tmp_path / "whole")
    steps, errors = whole.curves()["error inside the mask"]
    assert errors[-1] < errors[0] and steps == [4, 8, 12]

    # Ended in the middle of a step, as by Ctrl-C a second time.
    calls, error = [], torch.nn.Module.__call__

    def ended(module, *arguments, **named):
        if type(module).__name__ == "_InsideTheMask" and module.training:
            calls.append(1)
            if len(calls) == 7:
                raise KeyboardInterrupt
        return error(module, *arguments, **named)

    monkeypatch.setattr(torch.nn.Module, "__call__", ended)
    with pytest.raises(KeyboardInterrupt):
        SurfacePretraining(RECIPE, SIZES, rasters=rasters, seconds_between_checkpoints=0).fit(
            responses, folder=tmp_path / "ended"
        )
    monkeypatch.undo()
    again = SurfacePretraining(RECIPE, SIZES, rasters=rasters).fit(responses, folder=tmp_path / "ended")
    again.save_pretrained(tmp_path / "ended")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "ended" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_was_pretrained_is_a_checkpoint_of_an_encoder(responses, tmp_path):
    made = SurfacePretraining(RECIPE, SIZES).fit(responses)
    made.save_pretrained(tmp_path)
    encoder = SurfaceEncoder(**{name: SIZES[name] for name in ("size", "patch_size", "width", "depth", "n_heads")})
    read_encoder(encoder, tmp_path)
    pictures = torch.randn(2, 1, 16, 16)
    assert torch.equal(encoder(pictures), made.network.encode(pictures))
    opened = SurfacePretraining.from_pretrained(tmp_path)
    assert torch.equal(opened.network.reconstructed(pictures), made.network.reconstructed(pictures))
    assert opened.summary() == made.summary()
    on = SurfacePretraining(Recipe(steps=1, batch_size=8, optimiser=OptimiserSpec(learning_rate=1e-9)), SIZES, tmp_path)
    torch.testing.assert_close(
        on.fit(responses).network.reconstructed(pictures), made.network.reconstructed(pictures), atol=1e-4, rtol=1e-4
    )


def test_what_does_not_fit_is_refused(responses, rasters, tmp_path):
    with pytest.raises(InputError, match="no responses"):
        SurfacePictures({}, 16)
    with pytest.raises(InputError, match="raster of subj01 puts 70 values into 16"):
        SurfacePictures(responses, 32, rasters)
    with pytest.raises(InputError, match="pretrain again"):
        SurfacePretraining.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot go on"):
        SurfacePretraining(RECIPE, SIZES, start=tmp_path).fit(responses)


def test_cost_counts_what_is_trained(responses):
    cost = SurfacePretraining(RECIPE, SIZES).cost(70)
    network = SurfacePretraining(RECIPE, SIZES).fit(responses).network
    assert cost.parameters == sum(one.numel() for one in network.parameters())
