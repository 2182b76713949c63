"""The check of a device: what is wrong is called wrong, what fails stops nothing else, and what is too late is left out."""

import json

import gpu_check
import numpy as np
import pytest
import torch
from gpu_parts import drawing, right_generators, right_networks
from gpu_parts.check import Check, Row, apart, tf32
from gpu_parts.matrix_rate import matrix_rate
from gpu_parts.stage_one import PENALTY, _token
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture
def check():
    return Check(torch.device("cpu"), "tiny", minutes=5)


def silent(text):
    pass


# --- the command


def broken(check):
    yield Row("before", 1.0, "s")
    raise ValueError("a kernel is missing\nand more")


def good(check):
    yield Row("an answer", np.int64(3), "grey levels", allowed=2)
    yield Row("a time", 0.5, "s", plain=2.0, operations=1e9, rate="float32")


def test_a_part_that_fails_keeps_its_rows_and_stops_no_other(check):
    check.rates["float32"] = 4e9
    rows = gpu_check.checked(check, parts=[("first", broken, 1), ("second", good, 1)], say=silent)
    assert [row["what"] for row in rows] == ["before", "the rest of it", "took", "an answer", "a time", "took"]
    assert rows[1]["failed"] == "ValueError: a kernel is missing" and rows[1]["note"].startswith("test_gpu_check.py:")
    assert rows[3]["right"] is False
    assert rows[4]["times"] == 4 and rows[4]["share"] == 0.5 and rows[4]["right"] is None


def test_a_line_says_what_is_wrong_and_what_failed(check):
    lines = []
    gpu_check.checked(check, parts=[("first", broken, 1), ("second", good, 1)], say=lines.append)
    assert "| FAILED |" in lines[1] and "a kernel is missing" in lines[1]
    assert "| 3 grey levels | 2 | WRONG |" in lines[2] and "| 4.00 x |" in lines[3]
    assert {line.count("|") for line in [*lines, *gpu_check.HEADING]} == {9}


def test_what_would_be_over_the_limit_is_left_out_and_said():
    late = Check(torch.device("cpu"), "full", minutes=0.5)
    row, _ = gpu_check.checked(late, parts=[("long", broken, 60)], say=silent)
    assert row["skipped"] and row["what"].startswith("skipped: ") and row["what"].endswith(" s left, 60 needed")


def test_the_json_is_complete_and_the_exit_code_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "checked", lambda check, only, say: found)
    options = ["--device", "cpu", "--size", "tiny", "--out", str(tmp_path / "found.json")]
    for row, code in (({"right": True}, 0), ({"right": False}, 1), ({"failed": "no"}, 1), ({"skipped": True}, 0)):
        found = [{"part": "one", "what": "this"} | row]
        assert gpu_check.main(options) == code
        written = json.loads((tmp_path / "found.json").read_text())
        assert written["rows"] == found and written["torch"] == torch.__version__ and written["size"] == "tiny"
    assert "skipped: one" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, said", [([], "no CUDA device"), (["--device", "cpu", "--only", "none"], "--only has")]
)
def test_what_cannot_be_is_said_at_once(monkeypatch, capsys, options, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        gpu_check.main(options)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_not_a_number_is_wrong_and_still_json():
    row = Row("x", apart([1.0, float("nan")], [1.0, 2.0]), "", allowed=1).as_data({})
    assert row["right"] is False and json.dumps(row, allow_nan=False)


# --- what is measured


def test_matrix_rates_are_kept_for_the_other_parts(check):
    rows = list(matrix_rate(check))
    assert len(rows) == 2 and set(check.rates) == {"float32", "bfloat16"}
    assert [row.found * 1e12 for row in rows] == pytest.approx(list(check.rates.values()), rel=1e-12)
    assert min(check.rates.values()) > 1e8


def test_a_median_leaves_warming_up_out(check):
    calls = []
    assert set(check.medians({"one": lambda: calls.append(1), "two": lambda: calls.append(2)}, 3)) == {"one", "two"}
    assert calls == [1, 2, 1, 2, 1, 2, 1, 2]


def test_tf32_is_as_before_afterwards():
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [flag.allow_tf32 for flag in flags]
    for allowed in (True, False):
        with pytest.raises(ValueError), tf32(allowed):
            assert [flag.allow_tf32 for flag in flags] == [allowed] * 2
            raise ValueError
        assert [flag.allow_tf32 for flag in flags] == before


def test_the_plain_fit_of_a_token_is_the_solvers():
    random = np.random.default_rng(0)
    patterns, new, targets = (
        random.standard_normal(shape).astype(np.float32) for shape in ((60, 90), (7, 90), (60, 5))
    )
    plain = _token(*(torch.from_numpy(each) for each in (patterns, targets, new))).numpy()
    expected = right_networks.ridge_predictions(patterns, targets, new, PENALTY)
    np.testing.assert_allclose(plain, expected, atol=1e-4 * expected.std(), rtol=1e-4)


# --- what is wrong is found


def test_stage_one_is_right_and_a_thousandth_off_is_wrong(check, monkeypatch):
    assert [row.right for row in right_networks.right_ridge(check)] == [True, True]
    solver = right_networks.ridge_predictions
    monkeypatch.setattr(
        right_networks, "ridge_predictions", lambda *given, **told: 1.001 * solver(*given, **told) + 0.001
    )
    assert [row.right for row in right_networks.right_ridge(check)] == [False, False]


def test_a_network_that_is_off_is_wrong_and_one_that_fails_stops_no_other(check, monkeypatch):
    def off(device):
        return np.arange(10.0) * (1 if device == "cpu" else 1.01)

    def failing(device):
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(
        right_networks, "NETWORKS", {"off": off, "none": failing, "same": lambda device: np.arange(3.0)}
    )
    rows = list(right_networks.right_networks(check))
    assert [row.right for row in rows] == [False, None, True]
    assert rows[1].failed == "RuntimeError: no kernel image"


@pytest.mark.parametrize("name", right_networks.NETWORKS)
def test_every_network_has_an_outcome_that_can_differ(name):
    outcome = right_networks.NETWORKS[name]("cpu")
    assert outcome.std() > 0 and np.isfinite(np.asarray(outcome, dtype=float)).all()
    assert apart(outcome + 0.1 * outcome.std(), outcome) > right_networks.FLOAT32


def test_pictures_that_depend_on_the_batch_are_wrong(check, monkeypatch):
    monkeypatch.setattr(right_generators.bench_generate, "random_generator", lambda *given: None)
    monkeypatch.setattr(right_generators.bench_generate, "random_values", lambda *given: ({}, []))
    monkeypatch.setattr(right_generators, "accelerated", lambda *given, **told: None)
    monkeypatch.setattr(right_generators, "drawn", lambda *given: np.array([0, 0, given[-1]]))
    largest, share, *_ = right_generators.same_at_any_batch(check)
    assert largest.found == 3 and largest.right is False and share.found == pytest.approx(1 / 3)


def test_who_waits_in_the_loop_is_found(check, monkeypatch):
    (row,) = drawing.waiting(check)
    assert row.right and row.found == 0
    plainly = drawing.accelerated

    def asking(generator, device, **settings):
        plainly(generator, device, **settings)
        copied = torch.ones(1)
        generator.pipeline.unet.conv_in.register_forward_hook(lambda _, given, out: (copied.to(out.device), None)[1])
        return generator

    monkeypatch.setattr(drawing, "accelerated", asking)
    (row,) = drawing.waiting(check)
    assert row.right is False and row.found == 3 and row.note == "3 aten._to_copy"


def test_operations_of_a_picture_are_counted_from_a_few_steps(check):
    generator, values, items = drawing.made(check, 1)
    with FlopCounterMode(display=False) as counter:
        drawing.draw(generator, values, items, 6, 1)
    assert drawing.operations_of_a_picture(generator, values, items, 6) == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.slow
def test_the_whole_check_on_a_cpu(tmp_path):
    assert gpu_check.main(["--device", "cpu", "--size", "tiny", "--out", str(tmp_path / "found.json")]) == 0
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert {row["part"] for row in rows} == {name for name, *_ in gpu_check.PARTS}
    assert not any(row.get("skipped") or row.get("failed") for row in rows)
