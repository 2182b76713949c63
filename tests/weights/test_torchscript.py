"""TorchScript archives give their tensors without running what they say, as torch.jit.load finds them."""

import pickle
import warnings
import zipfile

import pytest
import torch
from pickled_weights import Harmful, same

from weights.conversion import read_tensors
from weights.manifest import CheckpointError
from weights.torchscript import _declared, is_torchscript, read_torchscript


class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("table", torch.arange(4).reshape(2, 2).T)
        self.mask = torch.ones(2)
        self.lengths = [1, 2]

    def forward(self, x):
        return self.linear(x) * self.mask + self.lengths[0] + self.table.sum()


class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = torch.nn.Sequential(Part(), Part())
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.tied = self.parts[0].linear.weight

    def forward(self, x):
        return self.parts[0](x) * self.scale + self.tied.sum()


@pytest.fixture(params=["scripted", "traced"])
def archive(request, tmp_path):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Whole()
        model = torch.jit.script(model) if request.param == "scripted" else torch.jit.trace(model, torch.ones(1, 3))
        torch.jit.save(model, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def rewritten(archive, change):
    """The archive with its members passed through `change(name, content)`."""
    with zipfile.ZipFile(archive) as old:
        members = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in members.items():
            if content is not None:
                new.writestr(name, content)


def test_a_torchscript_archive_has_the_tensors_that_torch_finds_in_it(archive):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(archive).state_dict()
    assert is_torchscript(archive) and len(expected) == 8
    assert same(read_torchscript(archive), dict(expected))
    assert same(read_tensors(archive), dict(expected))


def test_where_the_code_does_not_declare_weights_all_tensors_are_given(archive):
    rewritten(archive, lambda name, content: None if name.endswith(".py") else content)
    assert {"parts.0.linear.weight", "parts.0.table", "scale"} <= read_torchscript(archive).keys()


def test_code_of_an_archive_is_never_compiled(archive):
    rewritten(archive, lambda name, content: content + b"\nthis is no code (" if name.endswith(".py") else content)
    with pytest.raises(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(archive)
    assert len(read_torchscript(archive)) == 8


@pytest.mark.parametrize("callee", ["open", "os.system"])
def test_an_archive_that_would_run_something_is_refused(archive, tmp_path, monkeypatch, callee):
    monkeypatch.chdir(tmp_path)
    stream = pickle.dumps(Harmful(), protocol=2)
    if callee == "os.system":
        stream = b"cposix\nsystem\n(S'touch harm-was-done'\ntR."
    rewritten(archive, lambda name, content: stream if name.endswith("/data.pkl") else content)
    with pytest.raises(CheckpointError, match="a.pt cannot be read .it asks to run"):
        read_tensors(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    "change",
    [
        lambda name, content: content[:3] if name.endswith("/data/0") else content,
        lambda name, content: None if name.endswith("/data/0") else content,
        lambda name, content: None if name.endswith("/data.pkl") else content,
        lambda name, content: content[:40] if name.endswith("/data.pkl") else content,
        lambda name, content: pickle.dumps({"a": 1}, 2) if name.endswith("/data.pkl") else content,
    ],
)
def test_damaged_archives_are_refused_in_one_sentence(archive, change):
    rewritten(archive, change)
    with pytest.raises(CheckpointError, match="a.pt cannot be read") as caught:
        read_tensors(archive)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code", ["class A(Module):\n" + " \n" * 300_000, "class A(Module):\n  " + "a" * 10**6], ids=["blanks", "one line"]
)
def test_code_that_declares_nothing_is_gone_through_once(code):
    assert _declared(code, "A") is None


def test_declared_names_vs_the_code():
    assert _declared('class A(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = []\n', "A") == {"w"}
