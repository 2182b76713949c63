"""One process for each subject, as the authors of STTM train: rows are gathered with their gradient, gradients averaged.

    python gathered_contrast.py RANK FILE OUTPUT

`FILE` is a safetensors file of what each rank reads; `OUTPUT` gets the averaged gradient of the shared layer and the mean loss.
Losses are written out here with nothing of the package but the tables of the mixtures.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import log_softmax, normalize

A_MIXED, A_SOFT, WEIGHT = 0.5, 0.2, 30.0


def cross_entropy(labels, logits):
    return -(labels * log_softmax(logits, 1)).sum(1).mean()


def mixed(rows, true, labels, temperature):
    """BiMixCo of unit rows."""
    logits = normalize(rows, dim=1) @ normalize(true, dim=1).T / temperature
    return (cross_entropy(labels, logits) + cross_entropy(labels.T, logits.T)) / 2


def soft(rows, true, temperature):
    """SoftCLIP of unit rows."""
    rows, true = normalize(rows, dim=1), normalize(true, dim=1)
    labels, logits = (true @ true.T / temperature).softmax(1), rows @ true.T / temperature
    return (cross_entropy(labels, logits) + cross_entropy(labels, logits.T)) / 2


def terms(rows, true, captions, a, contrast):
    """Tokens, and a times the first token against the picture's and the caption's."""
    first = contrast(rows[:, 0], true[:, 0]) + contrast(rows[:, 0], captions)
    return contrast(rows.flatten(1), true.flatten(1)) + a * first


def main(rank, path, output):
    import torch.distributed as dist
    from torch.distributed.nn.functional import all_gather

    dist.init_process_group("gloo", init_method=f"file://{path}.meeting", rank=rank, world_size=2)
    given = load_file(path)
    own = {name.removeprefix(f"{rank}."): one for name, one in given.items() if name.startswith(f"{rank}.")}
    layer = given["layer"].clone().requires_grad_()
    rows = (own["patterns"] @ layer).unflatten(1, own["true"].shape[1:])
    if "labels" in own:
        loss = terms(rows, own["true"], own["captions"], A_MIXED, lambda *two: mixed(*two, own["labels"], 0.006))
    else:
        n = int(given["counted"])
        gathered = [torch.cat(all_gather(one[:n].contiguous())) for one in (rows, own["true"], own["captions"])]
        loss = terms(*gathered, A_SOFT, lambda *two: soft(*two, float(given["temperature"])))
    prior = (rows - 2 * own["true"]).square().flatten(1).mean(1)
    prior = prior[: len(rows) if "labels" in own else int(given["counted"])].mean()
    loss = own["weights"][0] * loss + own["weights"][1] * WEIGHT * prior
    loss.backward()
    found = torch.cat([layer.grad.flatten(), loss.detach()[None]])
    dist.all_reduce(found)
    if rank == 0:
        save_file({"found": found / 2}, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
