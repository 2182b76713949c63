"""Laws that hold for every generator, whatever it draws from.

A new generator is added to `MAKERS`: its name, and a function of an empty folder that returns it with small random weights.
"""

import contextlib
import dataclasses
import math
from functools import cache
from itertools import count

import numpy as np
import pytest
import random_checkpoints
import random_vgg19
import torch
from safetensors.torch import save_file

from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.media import PICTURE
from stages.ground.not_finite import NotFinite
from weights.remark import Remark

MEDIA = {PICTURE.name: PICTURE}


def versatile(folder):
    from stages.generators.diffusion.dual_context import DualContextGenerator

    return DualContextGenerator.from_pretrained(random_checkpoints.save_dual_context(folder))


def adapted(kind, class_name):
    def make(folder):
        from stages.generators.diffusion import ip_adapter

        random_checkpoints.save_generator(kind, folder)
        save_file(random_checkpoints.adapter_state(), folder / "ip-adapter.safetensors")
        return getattr(ip_adapter, class_name).from_pretrained(
            folder, folder / "ip-adapter.safetensors", scheduler="ddim"
        )

    return make


def under_ip_tokens(folder):
    from stages.generators.diffusion.ip_tokens import StableDiffusionIPTokensGenerator

    adapter = random_checkpoints.save_adapter_plus(folder / "adapter")
    clip = random_checkpoints.save_open_clip(folder / "clip", layers=2)
    random_checkpoints.save_generator("sd", folder)
    return StableDiffusionIPTokensGenerator.from_pretrained(folder, adapter, clip, scheduler="ddim")


def stable_diffusion(folder):
    from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator

    return StableDiffusionGenerator.from_pretrained(random_checkpoints.save_generator("sd", folder), text_required=True)


def under_depth(folder):
    from stages.generators.diffusion.depth import DepthDiffusionGenerator

    random_checkpoints.save_generator("depth", folder)
    return DepthDiffusionGenerator.from_pretrained(folder, scheduler="ddim", depth_shape=(9, 9))


def under_depth_levels(folder):
    from stages.generators.diffusion.depth import DepthDiffusionGenerator

    random_checkpoints.save_generator("depth", folder)
    reader = random_checkpoints.save_dpt(folder / "dpt")
    return DepthDiffusionGenerator.from_pretrained(folder, scheduler="ddim", dpt_folder=reader)


def stable_unclip(folder):
    from stages.generators.diffusion.stable_unclip import StableUnCLIPGenerator

    return StableUnCLIPGenerator.from_pretrained(random_checkpoints.save_generator("unclip", folder))


def unclip_xl(folder):
    import single_files

    from stages.generators.diffusion.unclip_xl import UnCLIPXLGenerator

    return UnCLIPXLGenerator.from_pretrained(single_files.save_unclip(folder), n_tokens=single_files.TOKENS)


def stable_diffusion_xl(folder):
    import single_files

    from stages.generators.diffusion.stable_diffusion_xl import StableDiffusionXLGenerator

    return StableDiffusionXLGenerator.from_pretrained(single_files.save_sdxl(folder))


def codebook_of_tokens(folder):
    import single_files

    from stages.generators.diffusion.vq_diffusion import VQDiffusionGenerator
    from stages.networks.time_mapper import TimeMapper

    torch.manual_seed(0)
    mapper = TimeMapper(n_tokens=6, context_width=single_files.CLASS_WIDTH, width=64)
    return VQDiffusionGenerator.from_pretrained(single_files.save_classes(folder), n_tokens=6, time_mapper=mapper)


def image_variations(folder):
    from stages.generators.diffusion.image_variations import ImageVariationsGenerator

    return ImageVariationsGenerator.from_pretrained(random_checkpoints.save_generator("variations", folder))


def kandinsky(folder):
    from stages.generators.diffusion.kandinsky import KandinskyGenerator

    return KandinskyGenerator.from_pretrained(random_checkpoints.save_generator("kandinsky", folder))


def icgan(folder):
    from stages.generators.gan.icgan import ICGANGenerator
    from weights import store

    return ICGANGenerator.from_pretrained(store.path("tiny-icgan"))


def faces(folder):
    from stages.generators.gan.face_vaegan import FaceVAEGANGenerator
    from stages.networks.face_vaegan import FaceVAEGAN, FaceVAEGANConfig

    FaceVAEGAN(FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=5, latents=7)).save_pretrained(folder)
    return FaceVAEGANGenerator.from_pretrained(folder)


def masked_tokens(folder):
    from stages.generators.tokens.masked_tokens import MaskedTokenGenerator
    from weights import store

    return MaskedTokenGenerator.from_pretrained(store.path("tiny-maskgit"), store.path("tiny-label2img"))


def picture_search(preset, **changes):
    def make(folder):
        from stages.inverters.picture_search_presets import PRESETS
        from stages.inverters.searched_pictures import PictureSearch

        random_vgg19.save_vgg19(folder / "vgg19")
        random_vgg19.save_deepsim(folder / "deepsim")
        settings = dataclasses.replace(PRESETS[preset], steps=3, **changes)
        deepsim = folder / "deepsim" if settings.varied == "latent" else None
        return PictureSearch.from_pretrained(folder / "vgg19", deepsim, ("conv2_2", "fc7"), settings=settings)

    return make


def diffusion_search(folder):
    from stages.inverters.diffusion_search import DiffusionSearch
    from stages.inverters.diffusion_search_settings import DiffusionSearchSettings
    from weights import store

    random_checkpoints.save_generator("sd", folder)
    # One large step, so that every value shows.
    settings = DiffusionSearchSettings(
        iterations=2, learning_rate=1.0, multipliers=(1.0,), embedding_weight=0.95, checkpointing=False
    )
    layers = {"clip_block_1": "block 1", "clip_image": "embedding"}
    return DiffusionSearch.from_pretrained(
        folder, scheduler="ddim", clip=store.path("tiny-clip"), layers=layers, settings=settings, text_required=True
    )


def guided_diffusion(folder):
    from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
    from stages.inverters.guided_diffusion import GuidedDiffusion
    from weights import store

    random_checkpoints.save_generator("sd", folder)
    # Of so few steps every one is guided, strongly enough to show; self-attention asks the network for rows of another number,
    # which its own tests are about.
    settings = FeatureGuidanceSettings(scale=30.0, share=1.0, multipliers=(1.0,), self_attention=0.0)
    layers = {"clip_block_1": "block 1"}
    return GuidedDiffusion.from_pretrained(
        folder, scheduler="ddim", clip=store.path("tiny-clip"), layers=layers, settings=settings, text_required=True
    )


MAKERS = {
    "versatile": versatile,
    "stable-diffusion": stable_diffusion,
    "stable-diffusion-adapter": adapted("sd", "StableDiffusionIPAdapterGenerator"),
    "stable-diffusion-ip-tokens": under_ip_tokens,
    "stable-diffusion-xl-adapter": adapted("sdxl", "StableDiffusionXLIPAdapterGenerator"),
    "stable-diffusion-depth": under_depth,
    "stable-diffusion-depth-levels": under_depth_levels,
    "stable-unclip": stable_unclip,
    "unclip-xl": unclip_xl,
    "stable-diffusion-xl": stable_diffusion_xl,
    "codebook-of-tokens": codebook_of_tokens,
    "image-variations": image_variations,
    "kandinsky": kandinsky,
    "icgan": icgan,
    "faces": faces,
    "masked-tokens": masked_tokens,
    "diffusion-search": diffusion_search,
    "guided-diffusion": guided_diffusion,
    "picture-search": picture_search("one-noise", start="noise"),
    # On pictures of one colour the largest of four are ties, and no step along the gradient lowers the loss of random weights.
    "picture-search-by-lbfgs": picture_search("dir-pixels", start="shared noise", start_spread=40.0),
    "picture-search-of-shifted-pixels": picture_search("icnn-pixels", jitter=4, layers_count="by size"),
    "picture-search-by-adamw": picture_search("spurious-adamw", scaling="none"),
}
STARTS = ("first_picture", "first_latent")
ITEMS = [Item("nsd00001"), Item("nsd00002"), Item("nsd00001", sample=1), Item("nsd00003")]


@pytest.fixture(scope="module", params=MAKERS)
def generator(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


def made(name, shape, n_items):
    """Random rows of one value; the first two items differ, and the third has the first one's."""
    draws = np.random.default_rng(len(name))
    if name == "first_picture":
        rows = draws.integers(0, 256, (n_items, 16, 16, 3), dtype=np.uint8)
    elif name == "vq_cues":
        rows = draws.integers(-3, 12, (n_items, *shape)).clip(-1).astype(np.float32)
    elif name == "vq_weights":
        rows = (draws.random((n_items, *shape)) * (draws.random((n_items, shape[0], 1)) < 0.5)).astype(np.float32)
    else:
        rows = draws.standard_normal((n_items, *(8 if length is None else length for length in shape)))
        rows = rows.astype(np.float32)
    rows[2] = rows[0]
    return rows


def values_for(generator, start=None):
    """Every value that the generator takes, and at most one start."""
    optional = generator.optional.intersection(STARTS) - {start}
    names = [name for name in generator.takes if name not in optional]
    return {name: made(name, generator.takes[name], len(ITEMS)) for name in names}


def starts_of(generator):
    return [None, *(name for name in STARTS if name in generator.takes and name in generator.optional)]


def settings_of(generator, steps=2):
    """Few steps, if the generator goes in steps at all."""
    return {"num_inference_steps": steps} if hasattr(generator, "default_steps") else {}


def drawn(generator, values, items=ITEMS, **options):
    return np.stack(in_order(generator.draw(values, items, **settings_of(generator) | options))).astype(int)


@cache
def usual(generator, start=None):
    """What is drawn from every value and at most one start, once for all tests."""
    outputs = drawn(generator, values_for(generator, start))
    outputs.flags.writeable = False
    return outputs


def chosen(values, rows):
    return {name: value[rows] for name, value in values.items()}, [ITEMS[row] for row in rows]


def test_it_declares_what_it_takes_and_gives(generator):
    assert generator.optional <= set(generator.takes)
    assert all(isinstance(shape, tuple) for shape in generator.takes.values())
    assert generator.gives in MEDIA and isinstance(generator.draws_by_lot, bool)


def test_an_output_passes_the_check_of_its_medium(generator):
    for position, output in generator.draw(values_for(generator), ITEMS, **settings_of(generator)):
        assert 0 <= position < len(ITEMS)
        MEDIA[generator.gives].check(output)


def test_an_output_does_not_depend_on_neighbours_batch_or_order(generator):
    for start in starts_of(generator):
        values = values_for(generator, start)
        together = usual(generator, start)
        backwards, items = chosen(values, [3, 2, 1, 0])
        assert np.abs(drawn(generator, backwards, items, batch_size=3)[::-1] - together).max() <= 1, start
        alone, items = chosen(values, [1])
        assert np.abs(drawn(generator, alone, items)[0] - together[1]).max() <= 1, start


def test_the_lot_is_drawn_from_seed_stimulus_and_sample(generator):
    values = {name: np.repeat(value[:1], len(ITEMS), axis=0) for name, value in values_for(generator).items()}
    first = drawn(generator, values)
    np.testing.assert_array_equal(drawn(generator, values), first)
    other = drawn(generator, values, seed=1)
    if generator.draws_by_lot:
        assert len(np.unique(first.reshape(len(ITEMS), -1), axis=0)) == len(ITEMS)
        assert (np.abs(other - first).max(axis=(1, 2, 3)) > 1).all()
    else:
        assert np.abs(first - first[:1]).max() <= 1
        np.testing.assert_array_equal(other, first)


def test_every_value_matters(generator):
    for start in starts_of(generator):
        # After two steps of random weights a text changes less than a grey level.
        values, steps = values_for(generator, start), settings_of(generator, steps=3)
        base = drawn(generator, values, **steps)
        for name in values:
            # The stimuli stay in their places, so that the lot is the same.
            changed = drawn(generator, values | {name: values[name][::-1].copy()}, **steps)
            assert np.abs(changed - base).max() > 1, name


def test_an_optional_value_may_be_absent_for_all_or_for_some(generator):
    for name in generator.optional:
        start = name if name in STARTS else None
        values = values_for(generator, start)
        absent = drawn(generator, {other: value for other, value in values.items() if other != name})
        np.testing.assert_array_equal(drawn(generator, values | {name: None}), absent)
        some = drawn(generator, values | {name: [None, *values[name][1:]]})
        assert np.abs(some[0] - absent[0]).max() <= 1, name
        assert np.abs(some[1:] - usual(generator, start)[1:]).max() <= 1, name


def test_flat_rows_are_as_good(generator):
    values = values_for(generator)
    flat = {name: value.reshape(len(ITEMS), -1) for name, value in values.items()}
    np.testing.assert_array_equal(drawn(generator, flat), usual(generator))


def test_a_required_value_that_is_absent_is_named(generator):
    required = sorted(set(generator.takes) - generator.optional)
    for name in required:
        given = {other: value for other, value in values_for(generator).items() if other != name}
        listed = ", ".join(given) or "nothing"
        with pytest.raises(InputError, match=f"needs {name} of shape .*was given {listed}"):
            generator.draw(given, ITEMS)


def test_nothing_at_all_is_refused_if_something_is_required(generator):
    if set(generator.takes) - generator.optional:
        with pytest.raises(InputError, match="was given nothing"):
            generator.draw({}, ITEMS)
    nothing = {name: value[:0] for name, value in values_for(generator).items()}
    assert list(generator.draw(nothing, [])) == []


def test_a_value_that_is_not_taken_is_refused(generator):
    with pytest.raises(InputError, match="sonata, which it does not take; it takes"):
        generator.draw(values_for(generator) | {"sonata": np.zeros((4, 2))}, ITEMS)


def test_another_shape_is_refused_with_both_shapes(generator):
    for name, value in values_for(generator).items():
        wrong = value.reshape(len(ITEMS), -1)[:, :-1]
        length = math.prod(value.shape[1:]) - 1
        with pytest.raises(InputError, match=rf"{name} of nsd00001 has shape \({length},\).*reads \("):
            generator.draw(values_for(generator) | {name: wrong}, ITEMS)
        with pytest.raises(InputError, match=f"{name} has 3 rows for 4 items"):
            generator.draw(values_for(generator) | {name: value[:3]}, ITEMS)


def test_values_that_are_not_finite_are_refused(generator):
    for name, value in values_for(generator).items():
        broken = value.copy()
        # In place, also of rows that are single numbers.
        broken.reshape(len(broken), -1)[1, 0] = np.nan
        with pytest.raises(InputError, match=f"{name} of nsd00002 has 1 values that are not finite"):
            generator.draw(values_for(generator) | {name: broken}, ITEMS)


def test_no_picture_at_a_time_is_refused(generator):
    with pytest.raises(InputError, match="batch_size is 0"):
        generator.draw(values_for(generator), ITEMS, batch_size=0)


def test_the_global_random_state_is_left_alone(generator):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.randn(4), np.random.standard_normal(4)
    torch.manual_seed(5)
    np.random.seed(5)
    drawn(generator, values_for(generator, starts_of(generator)[-1]))
    assert torch.equal(torch.randn(4), expected[0])
    np.testing.assert_array_equal(np.random.standard_normal(4), expected[1])


def test_progress_counts_outputs_and_they_come_as_they_are_done(generator):
    calls, steps = [], []
    options = settings_of(generator) | {
        "batch_size": 3,
        # Steps within a batch are counted too, where there are any.
        "progress": lambda *call: (calls if call[0] == "pictures" else steps).append(call),
    }
    pairs = generator.draw(values_for(generator), ITEMS, **options)
    assert next(pairs)[0] in range(len(ITEMS)) and calls == [("pictures", 3, 4)]
    assert len(list(pairs)) == 3 and calls == [("pictures", 3, 4), ("pictures", 4, 4)]
    assert not steps or steps[-1][1] == steps[-1][2]


@contextlib.contextmanager
def spoiling(generator, row, only=torch.Tensor.is_floating_point):
    """Have the generator's network give NaN for one row of each batch that has it, of outputs for which ``only(output)``.

    Where pictures are searched for, or completed, one after the other it is asked several times for each. What it is asked for by
    itself, for the gradient of a picture, stays.
    """
    method = "completed" if hasattr(generator, "completed") else "search"
    searched, search = count(-1), getattr(generator, method, None)
    at = [next(searched)]

    def searching(first, *given):
        # A row that says whose it is is known again when it is drawn again.
        whose = (getattr(first, "stimulus_id", None), getattr(first, "sample", None))
        there = [position for position, item in enumerate(ITEMS) if (item.stimulus_id, item.sample) == whose]
        at[0] = there[0] if there else next(searched)
        return search(first, *given)

    def spoil(network, given, output):
        first, *others = output if isinstance(output, tuple) else (output,)
        if search is not None and isinstance(output, dict):
            return {name: values * math.nan if at[0] == row else values for name, values in output.items()}
        if only(first) and (search is not None or not torch.is_grad_enabled()):
            # Under guidance each picture has two rows.
            n = (
                len(first) // 2
                if hasattr(generator, "pipeline") and generator.default_guidance_scale != 1
                else len(first)
            )
            first = first.clone()
            if search is None:
                first[row::n] = math.nan
            elif at[0] == row:
                first[:] = math.nan
        return (first, *others) if isinstance(output, tuple) else first

    network = generator.pipeline.unet if hasattr(generator, "pipeline") else getattr(generator, "network", None)
    if search is not None:
        setattr(generator, method, searching)
        network = generator.looks[0].network if network is None else network
    hook = network.register_forward_hook(spoil)
    try:
        yield
    finally:
        hook.remove()
        vars(generator).pop(method, None)


def test_what_is_not_finite_is_named_when_all_others_are_there(generator):
    values, expected, found = values_for(generator), usual(generator), {}
    with (
        spoiling(generator, row=1),
        pytest.raises(NotFinite, match=r"1 output is missing, of nsd00002 \(sample 0\):") as raised,
    ):
        for position, picture in generator.draw(values, ITEMS, **settings_of(generator), batch_size=4):
            found[position] = picture.astype(int)
    assert raised.value.positions == (1,)
    assert sorted(found) == [0, 2, 3]
    assert max(np.abs(picture - expected[position]).max() for position, picture in found.items()) <= 1


@contextlib.contextmanager
def in_half(generator):
    """Have the networks compute in bfloat16."""
    parts = [part for part in generator.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    tensors = [each for part in parts for each in (*part.parameters(), *part.buffers()) if each.is_floating_point()]
    before = [tensor.data for tensor in tensors]
    for tensor in tensors:
        tensor.data = tensor.data.bfloat16()
    try:
        yield tensors
    finally:
        for tensor, data in zip(tensors, before):
            tensor.data = data


def test_what_is_not_finite_in_half_precision_is_drawn_again_in_float32(generator):
    if not hasattr(generator, "pipeline"):
        pytest.skip("computes in float32")
    values = values_for(generator)
    with in_half(generator) as tensors:
        stored = [tensor.data for tensor in tensors]
        for tensor in tensors:
            tensor.data = tensor.data.float()
        in_full = drawn(generator, values)
        for tensor, data in zip(tensors, stored):
            tensor.data = data
        expected = drawn(generator, values, batch_size=4)
        told = (
            r"not finite in bfloat16, of nsd00002 \(sample 0\): they are drawn again in float32, for which .* GB more"
        )
        half = lambda output: output.dtype == torch.bfloat16  # noqa: E731
        with spoiling(generator, row=1, only=half), pytest.warns(Remark, match=told):
            found = drawn(generator, values, batch_size=4)
        assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
        assert all(tensor.data.equal(data) for tensor, data in zip(tensors, stored))
    assert np.abs(found[1] - in_full[1]).max() <= 1
    np.testing.assert_array_equal(found[[0, 2, 3]], expected[[0, 2, 3]])


def test_what_is_not_finite_in_float32_either_says_so(generator):
    if not hasattr(generator, "pipeline"):
        pytest.skip("computes in float32")
    values, items = chosen(values_for(generator), [0])
    said = r"of nsd00001 \(sample 0\).* in bfloat16 and in float32;"
    with in_half(generator), spoiling(generator, row=0), pytest.warns(Remark), pytest.raises(NotFinite, match=said):
        drawn(generator, values, items)
