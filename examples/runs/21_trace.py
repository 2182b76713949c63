"""
Why is it blurry?
=================

A picture comes about step by step. A trace follows one stimulus through the
chain and says, of every value on the way, how near it is to the truth and how
much of the truth's spread it has, so that one sees at which step a picture
was lost.

The responses are **simulated**.
"""

import matplotlib.pyplot as plt

import brainrecon
from brainrecon.runs.trace import trace

brainrecon.simulate(
    "scenes", sessions=3, trials_per_session=300, shared=40, kinds=["scene"]
)


def run_with(name, **settings):
    """A run that has drawn three stimuli, and one control."""
    settings = {
        "generator": {"num_inference_steps": 10, "scheduler": "dpm++"}
    } | settings
    config = {
        "method": "brain-diffuser",
        "data": {"source": "nsd:scenes"},
        "settings": settings,
    }
    run = brainrecon.Run.create(
        f"runs/{name}", config, features="features", weights="tiny"
    ).fit()
    return run.reconstruct(
        ("reconstruction", "oracle_embeddings"), stimuli=run.stimulus_ids[4:7]
    )


def tell(one):
    """The facts of a trace, a line each."""
    for value in one.values:
        print(f"{value.step}: {value.name}")
        for fact, number in value.facts.items():
            print(
                f"    {fact}: {number:.3g}"
                if isinstance(number, float)
                else f"    {fact}: {number}"
            )


# %%
# One stimulus, every value
# -------------------------
#
# "Others that it is less like" is 50 % by chance.

run = run_with("as-it-is")
stimulus = run.stimulus_ids[4]
found = {"as it is": trace(run, stimulus)}
tell(found["as it is"])

# %%
# Suspects
# --------
#
# The same stimulus without rescaled predictions, which are flat; and with the
# true embeddings, as if decoding were perfect.

found["without rescaling"] = trace(
    run_with("flat", decoder={"rescale": "none"}), stimulus
)
found["true embeddings"] = trace(run, stimulus, "oracle_embeddings")

figure, axes = plt.subplots(
    3,
    3,
    figsize=(5.4, 5.6),
    layout="constrained",
    subplot_kw={"xticks": [], "yticks": []},
)
for line, (name, one) in zip(axes, found.items()):
    pictures = {"shown": one.shown} | {
        value.name.replace("_", " "): value.picture
        for value in one.values
        if value.picture is not None
    }
    line[0].set_ylabel(name, fontsize=10)
    for axis, (title, picture) in zip(line, pictures.items()):
        axis.imshow(picture)
        axis.set_title(title if axis in axes[0] else "", fontsize=10)
figure.suptitle("One stimulus under three conditions (simulated)")

# %%
# Contrast and fine detail
# ------------------------
#
# Both stand beside those of the shown picture, where 1 is as much.

keys = (
    "contrast beside the shown picture's",
    "fine detail beside the shown picture's",
)
facts = {
    (name, value.name): value.facts
    for name, one in found.items()
    for value in one.values
    if value.picture is not None
}
figure, axes = plt.subplots(
    1, 2, figsize=(7, 3), sharey=True, layout="constrained"
)
for axis, key in zip(axes, keys):
    for place, name in enumerate(found):
        for shift, (step, colour) in zip(
            (-0.18, 0.18),
            (("first_picture", "lightsteelblue"), ("picture", "tab:blue")),
        ):
            axis.barh(
                place + shift,
                facts[name, step][key],
                0.34,
                color=colour,
                label=step.replace("_", " ") if not place else None,
            )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlabel(key.replace(" beside the shown picture's", " / shown"))
axes[0].set_yticks(range(3), list(found))
axes[0].invert_yaxis()
figure.suptitle(
    "Contrast and fine detail, beside the shown picture's (simulated)"
)
figure.legend(
    *axes[0].get_legend_handles_labels(),
    frameon=False,
    ncols=2,
    loc="outside lower center",
)
for name in found:
    told = [
        f"{fact.split(' beside')[0]} {facts[name, 'picture'][fact]:.2f}"
        for fact in keys
    ]
    correlation = facts[name, "picture"][
        "pixel correlation with the shown picture"
    ]
    print(
        f"{name:18s} "
        + ", ".join(told)
        + f", pixel correlation {correlation:.2f}"
    )

# %%
# With true embeddings the same generator draws most of the fine detail, and its
# picture is much nearer to the shown one: what is missing was lost in decoding,
# not in drawing. Rescaling gives the first picture its contrast.

plt.show()
