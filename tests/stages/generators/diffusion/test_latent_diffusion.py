"""What holds for every generator of diffusers' maintained models, on tiny random parts loaded from folders."""

import numpy as np
import pytest
import torch
from picture_requests import pictures

from stages.ground.errors import InputError

STEPS = 8
KINDS = ("sd", "sdxl", "unclip", "kandinsky")
WITH_TEXT = KINDS[:3]


@pytest.fixture(scope="module", params=KINDS)
def generator(load_generator, request):
    # DDIM keeps a test about batches and strengths free of what a multistep solver remembers.
    return load_generator(request.param, scheduler="ddim")


def drawn(generator, requests, **options):
    options = {"num_inference_steps": STEPS} | options
    images = pictures(generator, requests, **options)
    assert images.dtype == np.uint8 and images.shape[1:] == (16, 16, 3)
    return images


def without_image(generator):
    """What a request is without its image, if the generator draws without one."""
    return {"image_context": None} if "clip_image" in generator.optional else {}


def difference(one, other):
    return int(np.abs(one.astype(int) - other).max())


def mixed(generator, request_for):
    """Requests of different starts and weights."""
    with_text = "clip_text" in generator.takes
    requests = [
        request_for(generator, 0),
        request_for(generator, 1, context_weights=(1, 0), text_context=None),
        request_for(generator, 2, init_image=None),
        request_for(generator, 3, strength=1),
        request_for(generator, 4, strength=0.5),
        request_for(generator, 5, strength=0),
        request_for(generator, 0, sample=1),
    ]
    if with_text:
        requests += [
            request_for(generator, 6, context_weights=(0, 1), image_context=None),
            request_for(generator, 7, context_weights=(1.3, 1.2)),
        ]
    return requests


def test_batches_and_order_change_at_most_one_grey_level(generator, request_for):
    requests = mixed(generator, request_for)
    alone = np.concatenate([drawn(generator, [request], batch_size=1) for request in requests])
    assert difference(drawn(generator, requests, batch_size=3), alone) <= 1
    assert difference(drawn(generator, requests[::-1], batch_size=8)[::-1], alone) <= 1
    assert len(np.unique(alone.reshape(len(alone), -1), axis=0)) == len(alone)


def test_same_seed_same_bytes_and_another_seed_or_sample_another_picture(generator, request_for):
    requests = [request_for(generator, 0), request_for(generator, 0, sample=1)]
    images = drawn(generator, requests, seed=4)
    assert np.array_equal(images, drawn(generator, requests, seed=4))
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images, drawn(generator, requests, seed=5))


def test_every_input_matters(generator, request_for):
    base, other = drawn(generator, [request_for(generator, 0)])[0], request_for(generator, 9)
    for name in ("image_context", "text_context", "init_image"):
        if getattr(other, name) is not None:
            changed = drawn(generator, [request_for(generator, 0, **{name: getattr(other, name)})])[0]
            assert not np.array_equal(changed, base), name
    assert not np.array_equal(drawn(generator, [request_for(generator, 0)], guidance_scale=2)[0], base)


def test_an_image_weight_of_0_leaves_the_image_embedding_out(generator, request_for):
    text_weight = 0.7 if "clip_text" in generator.takes else 0
    requests = [
        request_for(generator, 0, context_weights=(0, text_weight)),
        request_for(generator, 0, context_weights=(0, text_weight), **without_image(generator)),
        request_for(generator, 0, context_weights=(0.5, text_weight)),
    ]
    left_out, absent, half = drawn(generator, requests)
    assert difference(left_out, absent) <= 1
    assert difference(half, absent) > 1


def test_guidance_does_nothing_where_nothing_is_asked_for(generator, request_for):
    if getattr(generator, "zero_negative", False):
        pytest.skip("this model's unconditional half is no empty text but zeros")
    request = request_for(generator, 0, context_weights=(0, 0), **without_image(generator), text_context=None)
    images = [drawn(generator, [request], guidance_scale=scale) for scale in (1, 9)]
    assert difference(*images) <= 1


def test_a_strength_of_0_keeps_the_picture_but_for_the_autoencoder(generator, request_for):
    request = request_for(generator, 0, strength=0)
    pixels = torch.from_numpy(request.init_image).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        autoencoder = generator.space.network
        encoded = autoencoder.encode(pixels)
        if hasattr(encoded, "latent_dist"):
            decoded = autoencoder.decode(encoded.latent_dist.mode()).sample
        else:
            decoded = autoencoder.decode(encoded.latents, force_not_quantize=True).sample
    expected = ((decoded[0].permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255).round()
    assert difference(drawn(generator, [request])[0], expected) <= 1


def test_greys_are_rounded_or_cut_off(generator, request_for, monkeypatch):
    decode, pixels = generator.space.decode, []
    monkeypatch.setattr(generator.space, "decode", lambda latents: pixels.append(decode(latents)) or pixels[-1])
    found = {greys: drawn(generator, [request_for(generator, 0)], greys=greys)[0] for greys in ("rounded", "cut off")}
    levels = [((each[0].permute(1, 2, 0).numpy() / 2 + 0.5).clip(0, 1) * 255).astype(np.float32) for each in pixels]
    np.testing.assert_array_equal(found["rounded"], np.rint(levels[0]).astype(np.uint8))
    np.testing.assert_array_equal(found["cut off"], levels[1].astype(np.uint8))
    assert difference(found["rounded"], found["cut off"]) == 1
    with pytest.raises(InputError, match="greys is 'floor'"):
        drawn(generator, [request_for(generator, 0)], greys="floor")


def test_a_strength_of_1_ignores_the_picture(generator, request_for):
    other = request_for(generator, 9).init_image
    requests = [request_for(generator, 0, strength=1, init_image=image) for image in (other, None)]
    requests.append(request_for(generator, 0, strength=1))
    assert difference(drawn(generator, requests), drawn(generator, requests[-1:])[0]) <= 1


def test_a_share_of_the_steps_is_done_and_guidance_doubles_the_rows(generator, request_for):
    calls = []
    handle = generator.pipeline.unet.register_forward_pre_hook(
        lambda _, given: calls.append((len(given[0]), int(given[1])))
    )
    try:
        drawn(generator, [request_for(generator, 0, strength=0.75), request_for(generator, 1, strength=0.75)])
        drawn(generator, [request_for(generator, 0, init_image=None)], guidance_scale=1)
    finally:
        handle.remove()
    assert [rows for rows, _ in calls] == [4] * 6 + [1] * 8
    assert [timestep for _, timestep in calls[:6]] == [timestep for _, timestep in calls[8:]]


def test_first_pictures_of_another_size_are_resized(generator, request_for):
    flat = np.full((40, 24, 3), 90, np.uint8)
    requests = [request_for(generator, 0, init_image=image) for image in (flat, flat[:16, :16])]
    assert difference(*drawn(generator, requests)) <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc", None])
@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_draws(load_generator, request_for, kind, scheduler):
    if (kind, scheduler) == ("kandinsky", None):
        pytest.skip("the folder's own scheduler draws noise at every step")
    generator = load_generator(kind, scheduler=scheduler)
    requests = [request_for(generator, 0), request_for(generator, 1), request_for(generator, 2, init_image=None)]
    images = drawn(generator, requests)
    assert difference(drawn(generator, requests[1:2]), images[1:2]) <= 1
    assert images.std(axis=(1, 2)).min() > 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_comes_close(load_generator, request_for, kind, dtype):
    whole, half = load_generator(kind), load_generator(kind, dtype=dtype)
    assert half.pipeline.unet.dtype == dtype
    request = [request_for(whole, 0)]
    assert np.abs(drawn(whole, request).astype(float) - drawn(half, request)).mean() < 6
    assert (kind == "sdxl" and dtype == torch.float16) == (half.space.network.dtype == torch.float32)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_inference_steps": 0}, "num_inference_steps 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
        ({"strength": -0.1}, "strength is -0.1"),
        ({"weights": {"clip_image": float("nan")}}, "weight of clip_image is nan"),
        ({"weights": {"sonata": 1}}, "weight of sonata is 1; .*a finite number for clip_image"),
    ],
)
def test_settings_out_of_range_are_refused(generator, request_for, options, said):
    request = request_for(generator, 0)
    values = {name: [value] for name, value in request.values.items() if name in generator.takes}
    with pytest.raises(InputError, match=said):
        generator.draw(values, [request], **options)


@pytest.mark.parametrize("kind", WITH_TEXT)
def test_a_text_weight_of_0_is_the_empty_text(load_generator, request_for, kind):
    generator = load_generator(kind)
    empty = generator.empty_text.numpy()
    requests = [
        request_for(generator, 0, context_weights=(0.8, 0)),
        request_for(generator, 0, context_weights=(0.8, 0), text_context=None),
        request_for(generator, 0, context_weights=(0.8, 1), text_context=empty),
        request_for(generator, 0, context_weights=(0.8, 0.5)),
    ]
    images = drawn(generator, requests)
    assert difference(images[1], images[0]) <= 1 and difference(images[2], images[0]) <= 1
    assert difference(images[3], images[0]) > 1


@pytest.mark.parametrize("kind", WITH_TEXT)
def test_half_of_the_text_is_the_mean_with_the_empty_text(load_generator, request_for, kind):
    generator = load_generator(kind)
    request = request_for(generator, 0, context_weights=(0.8, 0.5))
    mean = (request.text_context + generator.empty_text.numpy()) / 2
    other = request_for(generator, 0, context_weights=(0.8, 1), text_context=mean)
    assert difference(*drawn(generator, [request, other])) <= 1


@pytest.mark.parametrize(
    "kind, steps, scale", [("sd", 50, 7.5), ("sdxl", 50, 5), ("unclip", 20, 10), ("kandinsky", 100, 4)]
)
def test_defaults_are_those_of_diffusers_pipelines(load_generator, kind, steps, scale):
    import inspect

    generator = load_generator(kind)
    told = inspect.signature(type(generator.pipeline).__call__).parameters
    assert generator.default_steps == told["num_inference_steps"].default == steps
    assert generator.default_guidance_scale == told["guidance_scale"].default == scale


def test_global_random_state_is_left_alone(generator, request_for):
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    drawn(generator, [request_for(generator, 0)])
    assert torch.equal(torch.randn(4), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_accelerations_are_heeded(load_generator, request_for, kind):
    from stages.generators.diffusion.acceleration import Acceleration

    plain = load_generator(kind)
    request = [request_for(plain, 0)]
    settings = Acceleration(dtype="float32", channels_last=True)
    assert difference(drawn(load_generator(kind, acceleration=settings), request), drawn(plain, request)) <= 1
    half = load_generator(kind, acceleration=Acceleration(dtype="bfloat16"))
    assert half.pipeline.unet.dtype == half.space.network.dtype == torch.bfloat16
    assert np.abs(drawn(half, request).astype(float) - drawn(plain, request)).mean() < 6
    with pytest.raises(InputError, match="torch.float16 and the acceleration's 'auto'.*leave dtype out"):
        load_generator(kind, dtype=torch.float16, acceleration=Acceleration())
