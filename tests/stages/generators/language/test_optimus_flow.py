"""Captions of the text flow: the order of operations written out, and the laws of a generator."""

import numpy as np
import pytest
import random_checkpoints
import random_optimus
import torch
from random_optimus import LATENT

from stages.generators.diffusion.acceleration import Acceleration
from stages.generators.generator import Item, in_order
from stages.generators.language import optimus_flow, optimus_writer
from stages.generators.language.caption_text import tidy_spaces
from stages.generators.language.optimus_flow import OptimusFlowCaptioner
from stages.generators.language.optimus_writer import REPETITIONS
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.ground.media import CAPTION
from stages.ground.not_finite import NotFinite
from weights.manifest import CheckpointError
from weights.remark import Remark

ITEMS = [Item(f"nsd{number:05d}") for number in range(6)]
FEW = {"num_inference_steps": 4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("vd")
    random_checkpoints.save_versatile_diffusion(root / "vd")
    random_optimus.convert_authors_optimus(root / "optimus")
    random_optimus.save_gpt2_tokenizer(root / "words")
    return root


@pytest.fixture(scope="module")
def captioner(folders):
    return OptimusFlowCaptioner.from_pretrained(folders / "vd", folders / "vd", folders / "optimus", folders / "words")


@pytest.fixture(scope="module")
def values(captioner):
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal((len(ITEMS), *shape)).astype(np.float32) for name, shape in captioner.takes.items()
    }


def written(captioner, values, items=ITEMS, **options):
    return in_order(captioner.draw(values, items, **FEW | options))


def rows(values, chosen):
    return {name: value[chosen] for name, value in values.items()}


def latents_of(captioner, values, monkeypatch, **options):
    """The denoised latents of a call of `draw`."""
    found, own = [], captioner._sentences
    monkeypatch.setattr(captioner, "_sentences", lambda latents, *rest: (found.append(latents), own(latents, *rest))[1])
    written(captioner, values, **options)
    return torch.cat(found)


@torch.no_grad()
@pytest.mark.parametrize(("noised_to", "before"), [("step before", 741), ("first step", 721)])
def test_latents_by_the_published_order_of_operations(captioner, values, monkeypatch, noised_to, before):
    """Noised to step 37 of 50, and denoised from step 36 on, which is timestep 721; DDIM written out."""
    monkeypatch.setattr(captioner, "rule", optimus_flow.StartRule(noised_to=noised_to))
    found = latents_of(captioner, rows(values, slice(1)), monkeypatch, items=ITEMS[:1], num_inference_steps=50)
    kept = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0)
    noise = torch.randn(1, LATENT, 1, 1, generator=item_generator(0, ITEMS[0].stimulus_id, 0))
    start = torch.from_numpy(values["optimus"][:1]).reshape(1, LATENT, 1, 1)
    hidden = (kept[before] ** 0.5 * start + (1 - kept[before]) ** 0.5 * noise).float()
    image, text = (torch.from_numpy(values[name][:1]) for name in ("clip_image", "clip_text"))
    nothing = torch.cat([context._nothing[None] for context in captioner.contexts], dim=1)
    timesteps = range(721, 0, -20)
    assert len(timesteps) == 37
    shares = {"context_weights": torch.tensor([[0.9, 0.1]])}
    for t in timesteps:
        given = captioner.flow(hidden, t, torch.cat([image, text], dim=1), cross_attention_kwargs=shares)[0]
        without = captioner.flow(hidden, t, nothing, cross_attention_kwargs=shares)[0]
        predicted = without + 7.5 * (given - without)
        clean = (hidden - (1 - kept[t]) ** 0.5 * predicted) / kept[t] ** 0.5
        after = kept[max(t - 20, 0)]
        hidden = (after**0.5 * clean + (1 - after) ** 0.5 * predicted).float()
    expected = hidden.flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.std()), rtol=1e-3)


def test_strength_0_writes_the_given_latent_and_1_none_of_it(captioner, values, monkeypatch):
    found = latents_of(captioner, values, monkeypatch, strength=0.0)
    np.testing.assert_array_equal(found.numpy(), values["optimus"])
    other = values | {"optimus": values["optimus"][::-1].copy()}
    noise = latents_of(captioner, values, monkeypatch, strength=1.0)
    assert torch.equal(noise, latents_of(captioner, other, monkeypatch, strength=1.0))
    assert torch.equal(noise, latents_of(captioner, values | {"optimus": None}, monkeypatch))


@torch.no_grad()
def test_greedy_words_are_the_most_probable_ones(captioner, values):
    begin, end = captioner.tokenizer.convert_tokens_to_ids(["<BOS>", "<EOS>"])
    found = written(captioner, values, strength=0.0, writing="greedy", repetitions="kept")
    for row, caption in enumerate(found):
        tokens, latent = [begin], torch.from_numpy(values["optimus"][row : row + 1])
        while len(tokens) < 29:
            token = int(captioner.decoder(torch.tensor([tokens]), latent)[0][0, -1].argmax())
            if token == end:
                break
            tokens.append(token)
        expected = captioner.tokenizer.decode(tokens[1:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert caption == tidy_spaces(expected)
    assert len(set(found)) > 1


def test_a_sentence_has_a_beginning_and_an_end_within_its_tokens(captioner, values, monkeypatch):
    lengths = []
    monkeypatch.setattr(optimus_writer, "_text", lambda words, tokens, repetitions: lengths.append(len(tokens)) or "")
    written(captioner, values, max_length=6)
    assert lengths and max(lengths) <= 4
    lengths.clear()
    # At a high temperature the end is one token among many.
    written(captioner, values, temperature=50.0)
    assert min(lengths) < 28 == max(lengths)


def test_a_caption_does_not_depend_on_neighbours_batch_or_order(captioner, values):
    captions = written(captioner, values)
    assert len(set(captions)) > 3
    assert written(captioner, values, batch_size=4) == captions
    assert written(captioner, rows(values, slice(None, None, -1)), ITEMS[::-1])[::-1] == captions
    assert written(captioner, rows(values, slice(2, 3)), ITEMS[2:3]) == captions[2:3]
    flat = {name: value.reshape(len(ITEMS), -1) for name, value in values.items()}
    assert written(captioner, flat) == captions


def test_the_lot_is_drawn_from_seed_stimulus_and_sample(captioner, values):
    same = {name: np.repeat(value[:1], 6, axis=0) for name, value in values.items()}
    items = [Item("nsd00001", sample) for sample in range(6)]
    captions = written(captioner, same, items)
    assert len(set(captions)) > 3 and captions == written(captioner, same, items)
    assert captions != written(captioner, same, items, seed=1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    written(captioner, same, items)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_value_and_every_weight_matters(captioner, values, monkeypatch):
    base = latents_of(captioner, values, monkeypatch)
    for name in values:
        changed = latents_of(captioner, values | {name: values[name][::-1].copy()}, monkeypatch)
        assert (changed - base).abs().max() > 1e-3, name
    alone = {"clip_image": 1.0, "clip_text": 0.0}
    images = latents_of(captioner, values, monkeypatch, weights=alone)
    without = latents_of(captioner, values | {"clip_text": None}, monkeypatch)
    torch.testing.assert_close(images, without, atol=1e-4, rtol=1e-4)
    other = values | {"clip_text": values["clip_text"][::-1].copy()}
    assert torch.equal(latents_of(captioner, other, monkeypatch, weights=alone), images)


def test_captions_are_of_their_medium_and_repetitions_are_removed(captioner, values, monkeypatch):
    for caption in written(captioner, values):
        assert CAPTION.check(caption) == caption == caption.strip() and "<" not in caption
    monkeypatch.setattr(captioner.tokenizer, "decode", lambda tokens, **_: " a a dog . two . a dog .")
    items, one = ITEMS[:1], rows(values, slice(1))
    said = {how: written(captioner, one, items, repetitions=how)[0] for how in REPETITIONS}
    assert said == {
        "kept": "a a dog. two. a dog.",
        "words": "a dog. two. a dog.",
        "words and sentences": "a dog. two.",
    }


def test_what_is_not_finite_is_named_and_the_others_written(captioner, values):
    expected, found = written(captioner, values), {}
    spoilt = {name: value.copy() for name, value in values.items()}
    spoilt["clip_image"][4] = np.finfo(np.float32).max * np.sign(values["clip_image"][4])
    with pytest.raises(NotFinite, match=r"nsd00004 \(sample 0\)") as error:
        for position, caption in captioner.draw(spoilt, ITEMS, **FEW, batch_size=4):
            found[position] = caption
    assert error.value.positions == (4,)
    assert found == {position: caption for position, caption in enumerate(expected) if position != 4}


def test_what_is_not_finite_in_half_precision_is_written_again_in_float32(folders, values):
    captioner = OptimusFlowCaptioner.from_pretrained(
        folders / "vd",
        folders / "vd",
        folders / "optimus",
        folders / "words",
        acceleration=Acceleration(dtype="bfloat16"),
    )
    assert captioner.flow.dtype == torch.bfloat16
    expected = written(captioner, values, batch_size=6)

    def spoil(network, given, output):
        noise = output[0].clone()
        # Under guidance each caption has two rows.
        noise[1 :: len(noise) // 2] = torch.nan
        return (noise,) if noise.dtype == torch.bfloat16 else output

    hook = captioner.flow.register_forward_hook(spoil)
    with pytest.warns(
        Remark, match=r"Captions are not finite in bfloat16, of nsd00001 \(sample 0\): they are drawn again"
    ):
        found = written(captioner, values, batch_size=6)
    hook.remove()
    assert captioner.flow.dtype == torch.bfloat16 and len(found) == 6
    assert [one for row, one in enumerate(found) if row != 1] == [one for row, one in enumerate(expected) if row != 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_inference_steps": 0}, "num_inference_steps 0"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"writing": "beam"}, "writing is 'beam'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"max_length": 40}, "max_length is 40; expected a whole number from 2 to 39"),
        ({"repetitions": "all"}, "repetitions is 'all'"),
        ({"weights": {"sound": 1.0}}, "no weight of sound"),
        ({"weights": {"clip_text": float("nan")}}, "weight of clip_text is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(captioner, values, settings, said):
    with pytest.raises(InputError, match=said):
        captioner.draw(values, ITEMS, **settings)


def test_values_that_cannot_be_are_refused(captioner, values):
    with pytest.raises(InputError, match=rf"reads \({LATENT},\)"):
        captioner.draw(values | {"optimus": values["optimus"][:, :-1]}, ITEMS)
    with pytest.raises(InputError, match="has neither clip_image nor clip_text"):
        captioner.draw({"optimus": values["optimus"]}, ITEMS)


def test_parts_that_do_not_belong_together_are_refused(captioner, folders, tmp_path):
    parts = [captioner.flow, captioner.decoder, captioner.tokenizer, captioner.scheduler]
    nothing = {context.reads: context._nothing for context in captioner.contexts}
    other = random_optimus.optimus().decoder
    other.transformer.linear = torch.nn.Linear(9, 24, bias=False)
    with pytest.raises(CheckpointError, match="denoises 16 values but Optimus' latents have 9"):
        OptimusFlowCaptioner(parts[0], other, *parts[2:], nothing)
    other.lm_head = torch.nn.Linear(12, 7)
    with pytest.raises(CheckpointError, match="but Optimus' decoder 7"):
        OptimusFlowCaptioner(parts[0], other, *parts[2:], nothing)
