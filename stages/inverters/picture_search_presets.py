"""Published forms of the search, as settings that a method names.

>>> from dataclasses import replace
>>> few = replace(PRESETS["dir-pixels"], steps=20)
>>> few.optimiser, few.bounds, few.steps
('L-BFGS-B', 'greys', 20)

========================  ============================================================================================
preset                    whose
========================  ============================================================================================
``dir-generator``         DeepImageReconstruction, natural pictures: a generator, gradient descent from zeros
``cookbook``              brain-decoding-cookbook-public: the same from noise, 1,000 steps, about the training mean
``one-noise``             Takagi and Nishimoto's scripts: a generator, from one noise for all pictures
``dir-pixels``            DeepImageReconstruction, without a generator, shapes, letters, imagery: pixels, L-BFGS-B
``icnn-generator-lbfgs``  icnn, a generator and L-BFGS-B, inputs between 0 and 100
``icnn-pixels``           icnn, pixels and gradient descent, with its blur and, if it is asked for, its shifts
``bdpy-pixels``           bdpy, pixels and gradient descent
``spurious-adamw``        spurious_reconstruction: a generator, AdamW, and a distance after DISTS
``direct``                decoded features into the generator as they are, after scaling
========================  ============================================================================================

Deviations. The cookbook's one unseeded noise for all pictures of a run is ``shared noise`` with a seed, and so is Takagi and
Nishimoto's. DeepImageReconstruction cuts off 0.04 percent of all values before a picture is shown, as its comment says; what came
after it cuts off 4 percent under the same comment. The scripts of spurious_reconstruction mean to keep the generator's input
between 0 and its range. As they are written the upper bound is without effect and the lower one holds for what is drawn, not for
what is varied; so do these settings. What they share between pictures, the state of AdamW, begins anew with each picture here.
icnn offers two more ways to cut off pixels, by their norm and by what they contribute. As published both fail; they are left out.
"""

from __future__ import annotations

from dataclasses import replace

from stages.inverters.picture_search_settings import PictureSearchSettings

DIR_GENERATOR = PictureSearchSettings(scaling="spread", start="zeros", clip=0.04)
COOKBOOK = PictureSearchSettings(steps=1000, scaling="feature_std_train_mean_center", start="shared noise")
ONE_NOISE = PictureSearchSettings(start="shared noise")
DIR_PIXELS = PictureSearchSettings(
    optimiser="L-BFGS-B",
    varied="pixels",
    scaling="spread",
    start="zeros",
    bounds="greys",
    found="after the last step",
    clip=0.04,
)
GENERATOR_LBFGS = PictureSearchSettings(
    steps=500, optimiser="L-BFGS-B", scaling="none", bounds="highest", found="after the last step"
)
BDPY_PIXELS = PictureSearchSettings(
    varied="pixels",
    decay=0.2,
    last_decay=1e-10,
    scaling="none",
    start="greys",
    bounds="none",
    found="after the last step",
    layers_count="alike",
)
ICNN_PIXELS = replace(BDPY_PIXELS, blur=2.0, last_blur=0.5, jittered="picture and velocity")
ADAMW = PictureSearchSettings(
    steps=800,
    optimiser="AdamW",
    learning_rate=0.1,
    last_learning_rate=0.1,
    distance="DISTS and squares",
    layers_count="alike",
    scaling="spread_train_mean_center",
    start_spread=0.01,
    bounds="above 0",
    bounds_hold="when used",
    fitted="resized",
    found="after the last step",
    clipped="all that is drawn",
)
DIRECT = PictureSearchSettings(optimiser="none", start="decoded", scaling="spread", bounds="none")

PRESETS = {
    "dir-generator": DIR_GENERATOR,
    "cookbook": COOKBOOK,
    "one-noise": ONE_NOISE,
    "dir-pixels": DIR_PIXELS,
    "icnn-generator-lbfgs": GENERATOR_LBFGS,
    "icnn-pixels": ICNN_PIXELS,
    "bdpy-pixels": BDPY_PIXELS,
    "spurious-adamw": ADAMW,
    "direct": DIRECT,
}
"""By name."""
