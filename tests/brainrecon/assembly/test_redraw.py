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
