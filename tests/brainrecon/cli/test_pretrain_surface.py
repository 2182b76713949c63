"""``brainrecon pretrain --kind surface``: where voxels lie, what is written, and that a method starts from it."""

import json

import numpy as np
import pytest

from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.subject_raster import raster_of
from brainrecon.runs.pretraining import BrainPretraining, settings_of
from stages.decoders.surface_pretraining import SurfacePretraining
from stages.ground.errors import InputError
from stages.networks.surface_autoencoder import SurfaceEncoder, read_encoder

ENCODER = {"size": 16, "patch_size": 8, "width": 16, "depth": 1, "n_heads": 2}
SMALL = [*(f"{name}={value}" for name, value in ENCODER.items()), "bottleneck=8", "decoder_width=8", "decoder_depth=1"]
SMALL += ["decoder_heads=2", "epochs=2", "batch_size=20"]


def test_an_encoder_of_a_surface_is_a_checkpoint_that_a_method_starts_from(surface_cohort, tmp_path, capsys):
    source = f"nsd:{surface_cohort}"
    settings = [part for text in SMALL for part in ("--set", text)]
    line = ["pretrain", source, "--option", "space=fsaverage", "--kind", "surface", *settings, "--device", "cpu"]
    assert run_command([*line, "--out", str(tmp_path / "surfaces")]) == 0
    said = capsys.readouterr().out
    assert "Training pictures of responses:" in said and "SurfaceAutoencoder: parameters" in said
    asked = json.loads((tmp_path / "surfaces" / "pretraining.json").read_text())
    assert asked["kind"] == "surface" and asked["settings"]["bottleneck"] == 8
    (about,) = json.loads((tmp_path / "surfaces" / "config.json").read_text())["responses"].values()
    assert about["raster"] == raster_of(load(source, space="fsaverage"), 16).origin
    encoder = SurfaceEncoder(**ENCODER)
    read_encoder(encoder, tmp_path / "surfaces")
    # Once more, there is nothing to do.
    written = (tmp_path / "surfaces" / "model.safetensors").stat().st_mtime_ns
    assert run_command([*line, "--out", str(tmp_path / "surfaces")]) == 0
    assert (tmp_path / "surfaces" / "model.safetensors").stat().st_mtime_ns == written
    opened = SurfacePretraining.from_pretrained(tmp_path / "surfaces")
    assert opened.sizes["bottleneck"] == 8
    settings = system_class("neuropictor2024")({"checkpoints": {"encoder": f"{tmp_path}/surfaces"}}).settings
    assert settings.decoder.pretrained and settings.checkpoints.encoder == f"{tmp_path}/surfaces"


def test_pictures_of_a_folder_are_read_row_by_row(tmp_path):
    np.save(tmp_path / "anna.npy", np.random.default_rng(0).standard_normal((24, 256)).astype(np.float32))
    made = BrainPretraining([str(tmp_path)], settings_of(SMALL, "surface"))
    made.fit(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert config["responses"]["anna"] == {"n": 24, "n_voxels": 256, "raster": "values in their order"}
    # Every pixel is a value's own.
    assert made._fitted.rasters == {}


def test_a_kind_or_setting_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="'surfaces'"):
        settings_of([], "surfaces")
    with pytest.raises(InputError, match="mask_ratio"):
        settings_of(["mask_ratio=0.5"], "surface")
    with pytest.raises(InputError, match="parts of equal size"):
        settings_of(["accumulate=5"], "surface")
