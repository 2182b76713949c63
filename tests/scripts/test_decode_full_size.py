"""The proof at full size, on a small network: it says what it will take, ends, and goes on."""

import json
from argparse import Namespace

import decode_full_size
import numpy as np
import pytest
from safetensors.numpy import load_file

from brainrecon.assembly import resumable_ridge
from stages.decoders.unitwise.unitwise import UnitwiseDecoder


@pytest.fixture
def options(tmp_path):
    return Namespace(
        folder=tmp_path / "run", pictures=70, new=3, voxels=20, chosen=15, threads=1, memory=1.0, small=True
    )


def test_layers_are_encoded_in_one_pass_and_decoded(options, capsys, monkeypatch):
    passes = []
    network = decode_full_size.VGG19.forward
    monkeypatch.setattr(
        decode_full_size.VGG19, "forward", lambda self, x, layers: passes.append(len(x)) or network(self, x, layers)
    )
    decode_full_size.main(options)
    assert sum(passes) == 70
    said = capsys.readouterr().out
    assert "19 layers, 9,975 units of 70 pictures" in said and "Disk: features 0.0 GB" in said
    measured = json.loads((options.folder / "log.json").read_text())
    assert measured["units"] == 9975 and measured["peak memory of fitting, GB"] > 0
    predicted = load_file(options.folder / "decoder" / "predictions.safetensors")
    assert list(predicted) == sorted(decode_full_size.DECODED)
    # As the decoder itself has it, from the pictures.
    pictures = decode_full_size.MadeUpPictures(np.arange(70), 32)
    layer = decode_full_size.VGG19Layer(decode_full_size.random_network(decode_full_size.SMALL), "fc7")
    new = decode_full_size.MadeUpPictures(10**6 + np.arange(3), 32)
    own = UnitwiseDecoder(voxels=15).fit(decode_full_size.responses(pictures, 20), layer.encode(pictures[:]))
    expected = own.predict(decode_full_size.responses(new, 20))
    assert np.abs(predicted["fc7"] - expected).max() < 0.01 * expected.std()


def test_killed_it_goes_on(options, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resumable_ridge, "fit_by_blocks", stop)
        with pytest.raises(KeyboardInterrupt):
            decode_full_size.main(options)
    monkeypatch.setattr(decode_full_size.VGG19, "forward", stop)
    decode_full_size.main(options)
    assert (options.folder / "log.json").exists()


def test_a_disk_that_is_too_small_is_noticed_before_it_starts(options, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Namespace(free=10))
    with pytest.raises(SystemExit, match="more than is free"):
        decode_full_size.main(options)
