"""How well the embedded label-to-image model draws what it is told: named by the evaluation network."""

import numpy as np

from brainrecon.simulation.world.pictures import LABELS
from stages.generators.diffusion.vq_diffusion import VQDiffusionGenerator
from stages.generators.generator import Item, in_order
from stages.networks.evaluation_network import EvaluationNetwork
from weights import store

PER_LABEL, STEPS, GUIDANCE = 4, 25, 3.0


def figures(folder):
    """Draw pictures of every label and have them named.

    Parameters
    ----------
    folder : path-like
        A folder as `tiny_networks.label2img.export` writes it.

    Returns
    -------
    dict of str to float
        Share of pictures named by their label, under guidance and under none.
    """
    return {
        f"named_rightly_{told}": float(np.mean(named(drawn(folder, PER_LABEL, scale)) == np.repeat(LABELS, PER_LABEL)))
        for told, scale in (("under_guidance", GUIDANCE), ("without_guidance", 1.0))
    }


def drawn(folder, per_label, guidance_scale, steps=None):
    """Pictures, uint8 (n_labels · per_label, 64, 64, 3), label by label."""
    generator = VQDiffusionGenerator.from_pretrained(folder, reads="class_label")
    labels = np.repeat(np.arange(len(LABELS)), per_label)[:, None].astype(np.float32)
    items = [Item(f"{LABELS[int(label)]}", sample) for sample, (label,) in enumerate(labels)]
    asked = generator.draw(
        {"class_label": labels}, items, num_inference_steps=steps or STEPS, guidance_scale=guidance_scale, batch_size=32
    )
    return np.stack(in_order(asked))


def named(pictures):
    """What the evaluation network calls the main thing of each picture, array of str."""
    network = EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"))
    return np.asarray(network.classify(pictures)["category"])
