"""MindEye2's own network at its published size, with random weights: one trial, and a sample of its prior."""

import json
import subprocess
import sys

import pytest

# Runs alone, so that its peak is its own.
PROGRAM = """
import json, resource, time
import torch
from full_size import random_tensors
from brainrecon.assembly.shared_network import prior_of
from stages.networks.mindeye2 import MindEye2Network

gives = {"clip_rough": (256, 1664), "clip_retrieval": (256, 1664), "sd_latent": (4, 28, 28)}
with torch.device("meta"):
    network = MindEye2Network({"subj01": 15724}, gives)
network.load_state_dict(random_tensors(network), assign=True)
network.eval().requires_grad_(False)
told = {"parameters": sum(one.numel() for one in network.parameters())}
start = time.perf_counter()
with torch.inference_mode():
    found = network({"subj01": torch.randn(1, 15724)})
told["trial_seconds"] = time.perf_counter() - start
told["shapes"] = {name: list(values.shape) for name, values in found.items()}
start = time.perf_counter()
tokens = prior_of(network).sample(found["clip_rough"], [torch.Generator().manual_seed(0)], 20)
told |= {"prior_seconds": time.perf_counter() - start, "tokens": list(tokens.shape)}
told["finite"] = bool(all(values.isfinite().all() for values in (*found.values(), tokens)))
print(json.dumps(told | {"peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@pytest.mark.slow
def test_a_trial_and_a_sample_at_full_size_fit_into_twenty_gigabytes():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    print(told)
    # 64,409,600 of the subject's own, 1,903,020,028 shared, 259,865,216 of the prior.
    assert told["parameters"] == 2_227_294_844 and told["finite"]
    shapes = {"clip_rough": [1, 256, 1664], "clip_retrieval": [1, 256, 1664], "sd_latent": [1, 4, 28, 28]}
    assert told["shapes"] == shapes | {"places": [1, 49, 512]} and told["tokens"] == [1, 256, 1664]
    # The weights, and what is made of them.
    assert 4 * told["parameters"] < told["peak"] < 20e9
