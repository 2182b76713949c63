"""A frozen network of which some tensors are trained: these alone change, and nothing else is copied or stored."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn

from stages.checkpoints.pretrained import save_tensors
from stages.ground.errors import InputError
from stages.networks.tuned_network import TunedNetwork, tuned_names
from stages.training.loop import train
from stages.training.recipe import OptimiserSpec, Recipe
from weights.manifest import read_manifest

# MinD-Vis says attn2|time_embed_condtion|norm2 of CompVis' names, in which residual blocks have no norm2.
MIND_VIS = (r".*\.transformer_blocks\.\d+\.(attn2|norm2)\..*",)


def base():
    torch.manual_seed(0)
    return nn.ModuleDict({"trunk": nn.Linear(4, 6), "norm": nn.BatchNorm1d(6), "head": nn.Linear(6, 2)})


class Network(nn.Module):
    """A network that goes through the parts of its base."""

    def __init__(self):
        super().__init__()
        self.parts = base()

    def forward(self, x, scale=1.0):
        parts = self.parts
        return scale * parts["head"](parts["norm"](parts["trunk"](x).tanh()))


class Learner(nn.Module):
    def __init__(self, tuned):
        super().__init__()
        self.tuned = tuned

    def forward(self, batch):
        return (self.tuned(batch["x"], scale=2.0) - batch["y"]).square().mean(), {}


PATTERNS = (r"parts\.head\..*", r".*trunk\.bias")
X, Y = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.ones(8, 2)
RECIPE = Recipe(steps=3, batch_size=8, optimiser=OptimiserSpec("adamw", learning_rate=0.1), average=0.9)


def bytes_of(network):
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


def test_three_steps_change_what_is_tuned_and_leave_every_other_tensor_to_the_byte():
    network = Network()
    before, start = bytes_of(network), network.state_dict()
    tuned = TunedNetwork(network, PATTERNS)
    assert sorted(tuned.state_dict()) == ["parts.head.bias", "parts.head.weight", "parts.trunk.bias"]
    train(Learner(tuned), lambda step: {"x": X, "y": Y}, RECIPE)
    assert bytes_of(network) == before
    assert all(not torch.equal(value, start[name]) for name, value in tuned.state_dict().items())
    drawing = Network()
    assert tuned.put_into(drawing) is drawing
    changed = {name for name, value in bytes_of(drawing).items() if value != before[name]}
    assert changed == set(tuned.state_dict())
    # One that carries the tensors itself computes the same, in evaluation mode as the base was.
    torch.testing.assert_close(drawing.eval()(X), tuned(X))


def test_a_step_vs_training_the_same_parameters_of_the_network_itself():
    tuned, plain = TunedNetwork(Network(), PATTERNS), Network().eval()
    tuned(X).square().sum().backward()
    plain(X).square().sum().backward()
    own = dict(plain.named_parameters())
    for name, parameter in tuned.named_parameters():
        torch.testing.assert_close(parameter.grad, own[name].grad)
    assert all(parameter.grad is None for parameter in tuned.base.parameters())


def test_a_moving_average_holds_no_second_base(tmp_path):
    tuned = TunedNetwork(Network(), PATTERNS)
    learner = Learner(tuned)
    other = copy.deepcopy(learner)
    assert other.tuned.base is tuned.base
    assert all(mine is not theirs for mine, theirs in zip(other.parameters(), learner.parameters()))
    train(learner, lambda step: {"x": X, "y": Y}, RECIPE, tmp_path, seconds_between_checkpoints=0)
    stored = [load_file(path) for path in tmp_path.rglob("*.safetensors")]
    assert stored and not any("trunk.weight" in name for tensors in stored for name in tensors)
    # Interrupted after its first step and gone on with: the same bytes, and what is reached is the average.
    again = Learner(TunedNetwork(Network(), PATTERNS))

    def first_alone(label, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            again,
            lambda step: {"x": X, "y": Y},
            RECIPE,
            tmp_path / "again",
            progress=first_alone,
            seconds_between_checkpoints=0,
        )
    again = Learner(TunedNetwork(Network(), PATTERNS))
    train(again, lambda step: {"x": X, "y": Y}, RECIPE, tmp_path / "again")
    assert bytes_of(again) == bytes_of(learner)


def test_an_outline_is_filled_and_then_given_its_base(tmp_path):
    tuned = TunedNetwork(Network(), PATTERNS)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(1)
    save_tensors(tuned.state_dict(), tmp_path / "tuned.safetensors")
    with torch.device("meta"):
        outline = Network()
    opened = TunedNetwork(outline, PATTERNS)
    assert {parameter.device.type for parameter in opened.parameters()} == {"cpu"}
    opened.load_state_dict(load_file(tmp_path / "tuned.safetensors"))
    with pytest.raises(InputError, match="an outline, with which nothing can be computed; call take_base"):
        opened(X)
    network = Network()
    assert torch.equal(opened.take_base(network)(X), tuned(X))
    assert torch.equal(opened.take_base(network, start=True)(X), network(X))


def test_the_base_follows_to_another_type():
    tuned = TunedNetwork(Network(), PATTERNS).double()
    assert tuned(X.double()).dtype == torch.float64 and tuned.base.parts["trunk"].weight.dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in tuned.base.parameters())
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"'head' fits no parameter of the Network; .*such as parts.trunk.weight"):
        TunedNetwork(Network(), [*PATTERNS, "head"])
    with pytest.raises(InputError, match="No pattern says what is tuned"):
        TunedNetwork(Network(), [])
    tuned = TunedNetwork(Network(), PATTERNS)
    with pytest.raises(InputError, match="parts.trunk.bias is absent in the Linear that was given"):
        tuned.put_into(nn.Linear(4, 2))
    other = Network()
    other.parts["head"] = nn.Linear(6, 3)
    with pytest.raises(InputError, match=r"parts.head.weight is of shape \(3, 6\) .* but \(2, 6\) in the tuned one"):
        tuned.take_base(other)


def test_what_mind_vis_tunes_of_the_published_unet():
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(read_manifest()["label2img-ldm"].writes["unet/config.json"])
    names = tuned_names(unet, MIND_VIS)
    sizes = {name: parameter.numel() for name, parameter in unet.named_parameters()}
    # Sixteen transformer blocks with queries, keys, values, output of two tensors, and a norm of two.
    assert len(names) == 16 * 7 == 112
    assert sum(sizes[name] for name in names) == 26_696_640
    assert sum(sizes.values()) == 400_920_579
    # The words of the authors, of names in diffusers' layout, would tune residual blocks' second norms as well.
    assert len([name for name in sizes if "attn2" in name or "norm2" in name]) == 112 + 2 * 22
