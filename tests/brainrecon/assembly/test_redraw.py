"""The step that redraws: which contexts may be absent, and what its generator is loaded with."""

import pytest
from stand_in_generators import StandIn

from brainrecon.assembly import redraw as module
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.values import Machine


def redrawn(contexts, **options):
    settings = GeneratorSettings(scheduler="ddim")
    return module.redraw("somewhere:Generator", lambda: "here", settings, Machine(), contexts, dict, **options)


@pytest.mark.parametrize(
    ("contexts", "options", "reads", "optional"),
    [
        (["a"], {}, ("a",), ("first_picture",)),
        (["a"], {"needed": ()}, (), ("a", "first_picture")),
        (["a", "b"], {}, (), ("a", "b", "first_picture")),
        (["a", "b"], {"needed": ("b",)}, ("b",), ("a", "first_picture")),
        ([], {"start": "latent"}, (), ("latent",)),
    ],
)
def test_the_only_context_is_needed_and_of_several_each_may_be_absent(contexts, options, reads, optional):
    step = redrawn(dict.fromkeys(contexts), **options)
    assert (step.reads, step.optional) == (reads, optional)


def test_a_generator_is_loaded_with_what_the_system_says(monkeypatch):
    def from_pretrained(folder, **options):
        return StandIn(folder, {}, **options)

    monkeypatch.setattr(module, "part", lambda place: type("Generator", (), {"from_pretrained": from_pretrained}))
    generator = redrawn({}, arguments=lambda: {"ip_adapter": "there"}).generator
    assert generator.folder == "here"
    assert generator.options["ip_adapter"] == "there" and generator.options["scheduler"] == "ddim"


def test_pictures_are_drawn_from_tokens_and_refined_under_captions(tmp_path):
    """SDXL unCLIP and then Stable Diffusion XL, as MindEye2 has them one after the other."""
    import numpy as np
    import single_files

    from brainrecon.assembly.targets import TargetSource
    from brainrecon.assembly.values import Item

    class Tokens:
        shape = (single_files.TOKENS, single_files.CONTEXT)

    def step(generator, saved, settings, contexts, **options):
        settings = GeneratorSettings(**settings)
        place = f"stages.generators.diffusion.{generator}"
        return module.redraw(place, lambda: saved, settings, Machine(), contexts, lambda present: {}, **options)

    unclip = step(
        "unclip_xl:UnCLIPXLGenerator",
        single_files.save_unclip(tmp_path / "unclip"),
        {"num_inference_steps": 4, "guidance_scale": 5.0},
        {"clip_image": TargetSource(Tokens, checkpoints=())},
        start=None,
        arguments=lambda: {"n_tokens": single_files.TOKENS},
        gives="first_picture",
    )
    (tmp_path / "sdxl").mkdir()
    refined = step(
        "stable_diffusion_xl:StableDiffusionXLGenerator",
        single_files.save_sdxl(tmp_path / "sdxl"),
        {"strength": 0.48, "num_inference_steps": 25, "guidance_scale": 5.0},
        {"caption": None},
        needed=(),
    )
    assert (unclip.reads, unclip.optional, unclip.gives) == (("clip_image",), (), ("first_picture",))
    assert (refined.reads, refined.optional) == ((), ("caption", "first_picture"))
    items = [Item("subj01", "nsd00001"), Item("subj01", "nsd00002")]
    tokens = np.random.default_rng(0).standard_normal((2, single_files.TOKENS * single_files.CONTEXT))
    drawn = unclip.run(items, {"clip_image": tokens.astype(np.float32)})
    values = {"caption": ["a b", "c"], "first_picture": np.stack(drawn["first_picture"])}
    found = refined.run(items, values)["picture"]
    assert [each.shape for each in found] == [(16, 16, 3)] * 2
    assert np.abs(found[0].astype(int) - drawn["first_picture"][0]).max() > 1
