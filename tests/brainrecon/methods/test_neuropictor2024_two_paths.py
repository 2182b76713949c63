"""Which of NeuroPictor's two paths says what, learned from "responses" that hold a picture's latent and its captions' tokens.

Two minutes of one core to learn in, and one to draw. The map of another stimulus takes the layout and leaves the meaning; tokens
of another take the meaning, and what a caption says of a layout: colours and background.
"""

import numpy as np
import pytest
from chains import chain_of
from PIL import Image

from brainrecon import simulate
from brainrecon.assembly.values import Item
from brainrecon.datasets import load
from stages.adapters.subject_rasters import in_order
from stages.decoders.trained import Training
from stages.targets.autoencoder_latents import AutoencoderLatents
from stages.targets.clip import CLIPImageVector
from stages.targets.diffusion_text import DiffusionTextTokens
from weights import store

STEPS = 700


@pytest.mark.slow
def test_the_map_says_where_and_the_tokens_what(tmp_path):
    simulate(tmp_path / "nsd", subjects=1, sessions=4, trials_per_session=240, shared=40)
    subject, folder = load(f"nsd:{tmp_path / 'nsd'}"), store.path("tiny-stable-diffusion")
    autoencoder, text = AutoencoderLatents.from_pretrained(folder, size=64), DiffusionTextTokens.from_pretrained(folder)

    def encoded(split):
        latents, tokens = autoencoder.encode(np.stack(list(split.images))), text.encode(split.captions)
        return np.concatenate([latents, 2 * tokens.reshape(-1, 24, 128).mean(axis=1)], axis=1), latents, tokens

    known, latents, tokens = encoded(subject.train)
    seen, _, _ = encoded(subject.test)
    decoder = {"epochs": 1, "steps_per_epoch": STEPS, "emptied_epochs": 0, "learning_rate": 3e-3, "text_weight": 3.0}
    chain = chain_of("neuropictor2024", {"decoder": decoder | {"size": 32, "patch_size": 8}}, "tiny")
    learned, drawing = chain.steps
    learned._rasters = {"subj01": in_order(known.shape[1], 32)}
    learned.decoder.arguments |= learned._outlined()
    learned.decoder.fit(
        Training(
            {"subj01": known},
            {"subj01": np.arange(len(known))},
            {"clip_text": tokens.reshape(-1, 24, 128)},
            beside={"sd_latent": latents.reshape(-1, 12, 8, 8)},
            free={"control_map": (80, 8, 8)},
        )
    )
    items = [Item("subj01", one) for one in subject.test.stimulus_ids]
    own = learned.run(items, {"patterns": seen})
    others = np.roll(np.arange(len(items)), len(items) // 2)
    shown = np.stack(list(subject.test.images))

    def scores(values):
        """Correlation of pixels, and two-way identification by CLIP, of every picture."""
        drawn = np.stack(drawing.run(items, values)["picture"])
        small = np.stack([np.asarray(Image.fromarray(one).resize((64, 64))) for one in shown])
        pairs = zip(small.reshape(len(items), -1), drawn.reshape(len(items), -1))
        layout = np.array([np.corrcoef(one, another)[0, 1] if another.std() else 0.0 for one, another in pairs])
        clip = CLIPImageVector.from_pretrained(store.path("tiny-clip"), normalise=True)
        found = clip.encode(shown) @ clip.encode(drawn).T
        return layout, (found < np.diag(found)).sum(axis=0) / (len(items) - 1)

    layout, meaning = scores(own)
    lost = {
        name: [before - after for before, after in zip((layout, meaning), scores({**own, name: own[name][others]}))]
        for name in ("control_map", "clip_text")
    }
    print(f"own: layout {layout.mean():.3f}, meaning {meaning.mean():.3f}")
    for name, found in lost.items():
        print(name, *(f"{one.mean():.3f} ± {1.96 * one.std() / len(items) ** 0.5:.3f}" for one in found))
    least = {name: [one.mean() - 1.96 * one.std() / len(items) ** 0.5 for one in found] for name, found in lost.items()}
    assert layout.mean() > 0.3 and meaning.mean() > 0.9
    assert least["control_map"][0] > 0.05 and abs(lost["control_map"][1].mean()) < 0.05
    assert least["clip_text"][1] > 0.3
