"""The comparison of generators runs, and draws with both sides what it says."""

import bench_generate
import pytest
import torch


def test_a_line_per_generator(capsys):
    options = ["--device", "cpu", "--sizes", "tiny", "--generators", "unclip,sd,versatile", "--steps", "4"]
    bench_generate.main([*options, "--batch-size", "2", "--plain-pictures", "1"])
    *_, heading, first, second, third = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["size", "side"]
    for line, kind, side in ((first, "unclip", 96), (second, "sd", 64), (third, "versatile", 64)):
        columns = line.split()
        assert columns[:3] == [kind, "tiny", str(side)] and columns[4] == "4"
        assert all(float(value) > 0 for value in columns[5:])


@pytest.mark.parametrize("kind", ["versatile", "unclip", "kandinsky"])
def test_both_sides_evaluate_the_network_equally_often(kind):
    generator = bench_generate.random_generator(kind, "tiny", torch.device("cpu"), "ddim")
    values, items = bench_generate.random_values(generator, 2)
    rows = []
    generator.pipeline.unet.register_forward_pre_hook(
        lambda _, given, told: rows.append(len(told["sample"] if "sample" in told else given[0])), with_kwargs=True
    )
    bench_generate.draw_plainly(kind, generator, values, items, 4)
    assert rows == [2] * 3 * 2
    rows.clear()
    list(generator.draw(values, items, num_inference_steps=4))
    assert rows == [4] * 3


def test_no_accelerator_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bench_generate, "bench", lambda *_: None)
    bench_generate.main([])
    assert "No accelerator was found" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys):
    for option in ("--sizes", "--generators"):
        with pytest.raises(SystemExit) as stopped:
            bench_generate.main([option, "huge"])
        assert stopped.value.code == 2
        assert f"{option} is huge; expected names out of" in capsys.readouterr().err
