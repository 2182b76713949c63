"""The doctor on healthy and on injected broken installations."""

import importlib
import re
import subprocess
import sys
import types

import pytest

from brainrecon.cli import doctor as doctor_module
from brainrecon.cli import installation
from brainrecon.cli.installation import Finding, examine_requirements, examine_torch, torchvision_remedy
from brainrecon.cli.main import run_command
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES


def broken(error):
    """An importer that fails as a mismatched torchvision does: torch imports, torchvision does not."""

    def import_module(name):
        if name.startswith("torchvision"):
            raise error
        return importlib.import_module(name)

    return import_module


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
        OSError("torchvision/_C.so: undefined symbol: _ZN3c106ivalue14ConstantString6createE"),
    ],
)
def test_a_mismatched_pair_is_recognised_and_the_pip_line_given(error):
    finding = examine_torch(broken(error))
    assert finding.state == "bad"
    assert str(error) in finding.detail
    assert finding.remedy == installation.TORCH_LINE
    assert "python -m pip install torch torchvision" in finding.remedy


def test_a_torch_for_the_cpu_is_given_its_own_torchvision(monkeypatch):
    monkeypatch.setattr(installation, "_version", lambda name: "2.13.0+cpu" if name == "torch" else "0.28.0")
    error = RuntimeError("operator torchvision::nms does not exist")
    assert examine_torch(broken(error)).remedy == installation.CPU_TORCH_LINE
    assert installation.CPU_TORCH_LINE in torchvision_remedy(RuntimeError(f"torchvision: {error}"))


def test_an_operator_that_fails_only_when_called_is_found():
    def nms(*_):
        raise RuntimeError("Couldn't load custom C++ ops. torchvision is not compatible with this PyTorch.")

    def import_module(name):
        return types.SimpleNamespace(nms=nms) if name == "torchvision.ops" else importlib.import_module(name)

    assert examine_torch(import_module).remedy == installation.TORCH_LINE


def test_a_missing_torchvision_is_to_be_installed():
    finding = examine_torch(broken(ModuleNotFoundError("No module named 'torchvision'")))
    assert (finding.state, finding.remedy) == ("bad", "python -m pip install torch torchvision")


def test_this_environments_pair_is_good():
    assert examine_torch().state == "good"


def test_other_errors_are_not_taken_for_a_mismatch():
    assert torchvision_remedy(RuntimeError("out of memory")) is None
    assert torchvision_remedy(RuntimeError("undefined symbol: c10_something")) is None


def test_a_package_that_is_too_old_or_absent_is_named_with_the_pip_line(monkeypatch):
    versions = {"numpy": "1.0", "einops": "(absent)"}
    monkeypatch.setattr(
        installation.importlib.metadata,
        "requires",
        lambda _: ["numpy>=1.26", "einops", 'pytest>=8; extra == "test"'],
    )
    monkeypatch.setattr(installation, "_version", lambda name: versions.get(name, "9"))
    finding = examine_requirements()
    assert finding.state == "bad"
    assert "numpy 1.0 does not satisfy numpy>=1.26" in finding.detail
    assert finding.remedy == 'python -m pip install "numpy>=1.26" "einops"'


def test_the_report_of_a_healthy_machine(capsys, monkeypatch):
    monkeypatch.setattr(doctor_module, "examine_weights", lambda: [Finding("checkpoints", "good", "all there")])
    code = run_command(["doctor"])
    out = capsys.readouterr().out
    assert code == 0 and out.endswith("Usable.\n")
    for subject in (
        "python",
        "torch and torchvision",
        "packages",
        "device cpu: works",
        "threads",
        "memory",
        "generator",
        "disk",
        "name",
    ):
        assert subject in out


def test_the_report_of_a_broken_machine(capsys, monkeypatch):
    error = RuntimeError("operator torchvision::nms does not exist")
    monkeypatch.setattr(doctor_module, "examine_torch", lambda: examine_torch(broken(error)))
    code = run_command(["doctor"])
    out = capsys.readouterr().out
    assert code == 2
    assert "operator torchvision::nms does not exist" in out and installation.TORCH_LINE in out
    assert "Not usable: mend torch and torchvision" in out


@pytest.mark.parametrize(
    "device, gigabytes, words",
    [
        ("cuda:1", 80, "in float16 fits, at most 16 pictures at a time"),
        ("cuda:0", 12, "in float16 fits, at most 16 pictures at a time"),
        ("cuda:0", 3.5, "in float16 does not fit, 1 picture at a time"),
        ("cpu", 64, "in float32 fits, at most 16 pictures at a time"),
        ("cpu", 4.5, "in bfloat16 fits, at most 8 pictures at a time"),
        ("cpu", 2.0, "in bfloat16 does not fit, 1 picture at a time"),
    ],
)
def test_generators_are_reckoned_for_the_device_at_hand(monkeypatch, device, gigabytes, words):
    monkeypatch.setattr(doctor_module, "roomiest_device", lambda: (device, int(gigabytes * 1e9)))
    findings = doctor_module.examine_generators()
    (found,) = [finding for finding in findings if finding.detail.startswith("versatile-diffusion at 512 px")]
    assert words in found.detail and found.detail.endswith(f"of {gigabytes:.1f} GB on {device}")
    assert found.state == ("good" if gigabytes >= 12 else "note")
    assert len(findings) == len(PUBLISHED_SIZES) and {finding.subject for finding in findings} == {"generator"}


@pytest.mark.parametrize("gigabytes", [6, 12, 23.5, 40])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_fits_takes_no_more_than_is_free(monkeypatch, device, gigabytes):
    monkeypatch.setattr(doctor_module, "roomiest_device", lambda: (device, int(gigabytes * 1e9)))
    for finding in doctor_module.examine_generators():
        need, free = re.search(r"([\d.]+) of ([\d.]+) GB", finding.detail).groups()
        assert (" fits, " in finding.detail) == (float(need) <= float(free)), finding.detail


def test_the_roomiest_device_is_the_one_with_most_free(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ([5, 9, 7][index], 10))
    assert doctor_module.roomiest_device() == ("cuda:1", 9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert doctor_module.roomiest_device()[0] == "cpu"


def test_settings_and_arithmetic_import_neither_torch_nor_diffusers():
    modules = "stages.generators.diffusion.acceleration, stages.generators.diffusion.published_sizes"
    code = f"import sys, {modules}; print({{'torch', 'diffusers'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_an_embedded_checkpoint_that_is_not_whole_makes_it_unusable(monkeypatch):
    statuses = [
        doctor_module.store.Status("tiny-clip", "damaged", "open_clip_model.safetensors has 3 bytes"),
        doctor_module.store.Status("versatile-diffusion", "absent", "there is no folder"),
    ]
    monkeypatch.setattr(doctor_module.store, "verify", lambda: statuses)
    bad = [finding for finding in doctor_module.examine_weights() if finding.state == "bad"]
    assert [finding.subject for finding in bad] == ["checkpoint tiny-clip"]
