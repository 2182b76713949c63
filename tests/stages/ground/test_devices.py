"""Devices: what cannot compute is told in words, and numbers of 64 bits are kept from devices that have none."""

import pytest
import torch

from stages.ground import devices
from stages.ground.devices import float64_device, trouble_with


def test_a_device_that_computes_has_no_trouble():
    assert trouble_with("cpu") is None


@pytest.mark.parametrize(
    "name, words", [("gpu", "no device of this name"), ("mps:x", "no device"), ("meta", "no numbers")]
)
def test_what_is_no_device_is_told_shortly(name, words):
    assert words in trouble_with(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_an_absent_cuda_device_is_told_shortly(name):
    assert "CUDA" in trouble_with(name) and "\n" not in trouble_with(name)


def test_a_device_that_computes_wrongly_is_found(monkeypatch):
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: matmul(one, other) + torch.rand(()) + 1)
    assert "differs" in trouble_with("cpu")


def test_a_device_that_fails_is_told_in_one_line(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no kernel image is available for execution on the device. And much\nmore")

    monkeypatch.setattr(torch.nn.functional, "conv2d", fail)
    assert trouble_with("cpu") == "no kernel image is available for execution on the device"


def test_only_devices_without_float64_are_replaced():
    assert {name: str(float64_device(name)) for name in ("cpu", "cuda:1", "mps", "mps:0")} == {
        "cpu": "cpu",
        "cuda:1": "cuda:1",
        "mps": "cpu",
        "mps:0": "cpu",
    }
    assert devices.float64_device(torch.device("xpu")).type == "xpu"
