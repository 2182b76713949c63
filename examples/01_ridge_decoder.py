"""
Ridge regression from voxels to values
======================================

Placeholder of the gallery.
"""

import numpy as np

import brainrecon

rng = np.random.default_rng(0)
patterns = rng.normal(size=(60, 20)).astype(np.float32)
values = patterns @ rng.normal(size=(20, 4)).astype(np.float32)
decoder = brainrecon.Decoder().fit(patterns, values)
print(decoder.predict(patterns).shape)
