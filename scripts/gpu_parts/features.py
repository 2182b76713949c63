"""Features of pictures by CLIP, of random weights: in batches, and one picture at a time."""

import numpy as np
import open_clip
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts.check import Row, tf32
from stages.targets.clip import CLIPImageTokens
from weights import store


def features(check):
    """Yield seconds of a picture, with what is done to it on the processor before, and without."""
    n, n_alone = check.chosen((2000, 20), (64, 16))
    target = _target(check)
    side = check.chosen(425, 64)
    pictures = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        prepared = target._prepared(pictures[:1])
        target.model.visual(prepared)
    operations = counter.get_total_flops()

    @torch.no_grad()
    def alone():
        for picture in pictures[:n_alone]:
            target.model.visual(target._prepared(picture[None]))[0].cpu()

    alone()
    plain = check.seconds(alone) / n_alone
    name = f"{type(target.model.visual).__name__}, {side} x {side}"
    yield Row(f"{name}, plain: alone, float32", plain, "s a picture", operations=operations)
    target.encode(pictures[:64])
    seconds = check.seconds(lambda: target.encode(pictures)) / n
    yield Row(f"{name}, {n:,} pictures, float32", seconds, "s a picture", plain=plain, operations=operations)
    seconds = check.seconds(lambda: target._prepared(pictures[:64])) / 64
    yield Row(f"{name}, of which resizing and cutting", seconds, "s a picture")
    batch = prepared.expand(64, -1, -1, -1).contiguous()
    for reduced in (False, True) if check.device.type == "cuda" else (False,):
        with tf32(reduced), torch.no_grad():
            seconds = check.medians({"": lambda: target.model.visual(batch)})[""] / 64
            found = target.model.visual(batch[:1])[0]
        kind = "tf32" if reduced else "float32"
        if not reduced:
            reference = found
        changed = float((found - reference).norm() / reference.norm())
        note = f"changes {changed:.1e} of its length" if reduced else ""
        yield Row(
            f"{name}, network alone, batch 64, {kind}",
            seconds,
            "s a picture",
            operations=operations,
            rate=kind,
            note=note,
        )


def _target(check):
    if not check.full:
        return CLIPImageTokens.from_pretrained(store.path("tiny-clip"), device=check.device)
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-L-14-quickgelu", pretrained=None, output_dict=False
    )
    model.visual.output_tokens = True
    return CLIPImageTokens(model.eval().requires_grad_(False).to(check.device), preprocess, None)
