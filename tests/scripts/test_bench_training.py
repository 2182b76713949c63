"""The comparison of training loops runs, and both sides take the same step."""

import json

import bench_training
import numpy as np
import pytest
import torch

from stages.priors.noise_process import NoiseProcess


def test_a_table_and_its_numbers(tmp_path, capsys):
    file = tmp_path / "found.json"
    options = ["--device", "cpu", "--steps", "2", "--pairs", "1", "--accumulate", "2", "--json", str(file)]
    bench_training.main(options)
    said, found = capsys.readouterr().out, json.loads(file.read_text())
    assert "times the plain loop" in said and "outside the networks" in said
    assert (found["size"], found["steps"], found["accumulate"], len(found["pairs"])) == ("tiny", 2, 2, 1)
    for name in ("plain", "here", "memory", "plain memory", "rate", "operations", "times"):
        assert found[name] > 0, name
    assert 0 < found["outside"] < 1


def test_both_sides_minimise_the_same_loss():
    work = bench_training.made("tiny", 1)
    network = work.network().eval()
    contrast, prior = work.decoder.objectives(network)
    patterns = torch.randn(8, 1000, generator=torch.Generator().manual_seed(0))
    tokens = torch.from_numpy(work.training.features["clip_rough"][:8])
    targets = {"clip_rough": tokens, "clip_retrieval": tokens}
    torch.manual_seed(1)
    mixed = contrast.before(patterns, 0)
    outputs = network(mixed)
    expected = sum(objective(outputs, targets, 0)[0] for objective in (contrast, prior))
    torch.manual_seed(1)
    mix = bench_training.draw_mix(8)
    assert 0 < (mix[1] < 1).sum() < 8
    torch.testing.assert_close(bench_training.plain_loss(network, mixed, tokens, mix), expected, rtol=1e-5, atol=0)
    kept = bench_training.share_kept(torch.arange(100))
    np.testing.assert_allclose(kept.numpy(), NoiseProcess(100).kept, rtol=1e-6)


def test_a_call_within_another_counts_once():
    now = iter(range(100))
    inside = bench_training.Inside(lambda: next(now))
    inner = inside.wrapped(lambda: None)
    inside.wrapped(lambda: [inner(), inner()])()
    assert inside.seconds == 1
    inner()
    assert inside.seconds == 2


def test_counts_below_one_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        bench_training.main(["--pairs", "0"])
    assert stopped.value.code == 2 and "--pairs is 0; expected 1 or more" in capsys.readouterr().err
