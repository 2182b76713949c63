"""The masked autoencoder at its published size: a step of pretraining, its checkpoint, and what it encodes."""

import json
import subprocess
import sys

import pytest

# Runs alone, so that its peak is its own.
PROGRAM = """
import json, resource, sys, time
import numpy as np
import torch
from dataclasses import replace
from brainrecon.assembly.pretraining import MaskedBrainSettings
from stages.networks.masked_brain import load_brain_encoder

settings = MaskedBrainSettings(epochs=1, warmup_epochs=0, batch_size=2)
responses = {"sbj_3": np.random.default_rng(0).standard_normal((2, 4643)).astype(np.float32)}
pretraining = settings.pretraining(2)
told = {"counted": pretraining.cost(4643).on_cpu}
start = time.perf_counter()
pretraining.fit(responses, folder=sys.argv[1]).save_pretrained(sys.argv[1])
told["seconds"] = time.perf_counter() - start
told["row"] = pretraining.summary()[0]
del pretraining
encoder = load_brain_encoder(sys.argv[1], 4466)
with torch.inference_mode():
    tokens = encoder.encode(torch.randn(1, 4466))
told |= {"tokens": list(tokens.shape), "finite": bool(tokens.isfinite().all())}
print(json.dumps(told | {"peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@pytest.mark.slow
def test_a_step_at_full_size_fits_into_eight_gigabytes(tmp_path):
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    print(told)
    assert told["row"]["parameters"] == 164_868_112 and told["row"]["steps"] == 1
    # 4466 voxels are 280 patches, whose places are resampled from 291.
    assert told["tokens"] == [1, 280, 1024] and told["finite"]
    assert told["counted"] < told["peak"] + 1e9 and told["peak"] < 8e9
