"""Time drawing into a run folder in batches, against a plain loop over one picture at a time.

    python scripts/bench_drawing.py [--pictures 16] [--batch-size 16] [--repeats 3] [--threads 1] [--steps 50] [--profile]

Both draw the test pictures of `brain-diffuser` on the embedded networks, in float32, from the same predicted values with the
same noise: the VDVAE decodes a first picture, which is redrawn in 37 of 50 steps under both contexts with guidance, and written
as PNG. The toolkit's way is `Run.reconstruct`. The plain loop is written out here with the parts of diffusers and the toolkit's
UNet. Networks are loaded before. Pairs follow each other, and ratios are their medians. Processor time, that of the thread
which writes included, is disturbed less by other work on the machine than the clock's.

Shares of time are those of the calls of the networks (VDVAE, autoencoder, UNet) from the first of them to the last written file.
"""

import argparse
import contextlib
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from brainrecon import simulate
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.settings import with_weights
from brainrecon.runs.config import RunConfig
from brainrecon.runs.run import Run
from stages.generators.diffusion.sampler import mixture
from stages.ground.item_seeds import item_generator
from stages.ground.progress import SILENT

# As the method has it.
STRENGTH, SHARES = 0.75, (0.6, 0.4)


class Clock:
    """Seconds of the processor and of the clock that networks took, and when the first of them was called.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        Fitted, its networks loaded.
    """

    def __init__(self, run):
        self.run, self.calls = run, {}
        pipeline, target = generator_of(run).pipeline, vdvae_of(run)
        self._places = {
            "UNet": (pipeline.unet, "forward"),
            "autoencoder, encoding": (pipeline.vae, "encode"),
            "autoencoder, decoding": (pipeline.vae, "decode"),
            "VDVAE": (target.network, "decode"),
        }

    @contextlib.contextmanager
    def watching(self):
        """Note every call within."""
        self.calls, self.began = {name: [0, 0.0, 0.0] for name in self._places}, None
        before = {name: getattr(owner, method) for name, (owner, method) in self._places.items()}
        for name, (owner, method) in self._places.items():
            setattr(owner, method, self._timed(name, before[name]))
        try:
            yield self
        finally:
            for name, (owner, method) in self._places.items():
                setattr(owner, method, before[name])
            self.total = time.process_time() - self.began[0], time.monotonic() - self.began[1]

    def _timed(self, name, call):
        def timed(*arguments, **options):
            began = time.process_time(), time.monotonic()
            self.began = self.began or began
            try:
                return call(*arguments, **options)
            finally:
                own = self.calls[name]
                own[0] += 1
                own[1] += time.process_time() - began[0]
                own[2] += time.monotonic() - began[1]

        return timed

    def outside(self):
        """Shares of the time that no network was called in: of the processor's, and of the clock's."""
        own = [sum(seconds[kind] for seconds in self.calls.values()) for kind in (1, 2)]
        return [1 - inside / total for inside, total in zip(own, self.total)]


def generator_of(run):
    """The generator of a run's last step."""
    return run.chain.giver(run.chain.output).generator


def vdvae_of(run):
    """The VDVAE of a run, as a target."""
    return run.chain.targets["vdvae"].target


def fitted_run(folder, pictures, steps):
    """A run of the method on a simulated subject with so many test stimuli, and steps from noise to a picture."""
    simulate(folder / "cohort", sessions=2, trials_per_session=max(60, 6 * pictures), shared=pictures, voxels=160)
    settings = with_weights({"generator": {"num_inference_steps": steps}}, system_class("brain-diffuser"), "tiny")
    data = {"source": f"nsd:{folder / 'cohort'}"}
    config = {"method": "brain-diffuser", "settings": settings, "data": data, "samples": 1}
    return Run.create(folder / "run", RunConfig.from_dict(config), features=folder / "features", device="cpu").fit(
        SILENT
    )


def emptied(run):
    """A run on the same folder, with nothing drawn and its networks loaded."""
    for name in ("images", "stage_one", "manifest.jsonl"):
        path = run.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run = Run(run.folder, features=run.store.folder, device="cpu")
    run.chain.giver(run.chain.output).load()
    vdvae_of(run)
    return run


def draw_plainly(run, vdvae, folder):
    """The plain loop: one picture after the other, each through all networks, and written."""
    embeddings, pipeline = run.embeddings, generator_of(run).pipeline
    unet, vae, nothing = pipeline.unet, pipeline.vae, pipeline.unconditional_contexts
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    size, guidance, scale = generator_of(run).image_size, pipeline.config.guidance_scale, vae.config.scaling_factor
    weights = mixture([(share, share) for share in SHARES], torch.device("cpu"), torch.float32)
    steps = run.config.settings.generator.num_inference_steps
    folder.mkdir()
    with torch.inference_mode():
        empty = torch.cat([nothing.image, nothing.text])[None]
        for row, name in enumerate(run.stimulus_ids):
            first = vdvae.decode(embeddings["vdvae"][row : row + 1])[0]
            pixels = np.asarray(Image.fromarray(first).resize((size, size), Image.Resampling.BICUBIC))
            pixels = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            latents = vae.encode(pixels).latent_dist.mode() * scale
            image, text = (
                torch.from_numpy(embeddings[value][row]).reshape(1, *generator_of(run).takes[value])
                for value in ("clip_image", "clip_text")
            )
            contexts = torch.cat([empty, torch.cat([image, text], dim=1)])
            noise = torch.randn(latents.shape[1:], generator=item_generator(run.config.seed, name, 0))[None]
            scheduler.set_timesteps(steps)
            timesteps = scheduler.timesteps[-int(STRENGTH * steps) :]
            latents = scheduler.add_noise(latents, noise, timesteps[:1])
            for timestep in timesteps:
                rows = torch.cat([latents, latents])
                prediction = unet(rows, timestep, contexts, cross_attention_kwargs=weights, return_dict=False)[0]
                without, conditional = prediction.chunk(2)
                prediction = without + guidance * (conditional - without)
                latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
            drawn = vae.decode(latents / scale, return_dict=False)[0][0]
            greys = ((drawn / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            Image.fromarray(greys).save(folder / f"{name}.png")


def furthest_grey(run, folder):
    """The largest difference of a grey level between both ways."""
    pairs = [(run.image_path("reconstruction", name), folder / f"{name}.png") for name in run.stimulus_ids]
    read = [[np.asarray(Image.open(path)).astype(int) for path in pair] for pair in pairs]
    return max(int(np.abs(one - other).max()) for one, other in read)


def bench(folder, pictures, batch_size, repeats, steps):
    """Time pairs of both ways; returns a list of (toolkit, plain), seconds of processor and clock, and the last `Clock`."""
    run, pairs = fitted_run(folder, pictures, steps), []
    for repeat in range(repeats):
        run = emptied(run)
        clock, vdvae = Clock(run), vdvae_of(run)
        with clock.watching():
            run.reconstruct(batch_size=batch_size, progress=SILENT)
        plain = folder / f"plain-{repeat}"
        began = time.process_time(), time.monotonic()
        draw_plainly(run, vdvae, plain)
        pairs.append((clock.total, (time.process_time() - began[0], time.monotonic() - began[1])))
        print(f"  pair {repeat + 1}: {told(pairs[-1], pictures)}; furthest grey {furthest_grey(run, plain)}")
    return pairs, clock


def told(pair, pictures):
    """A pair in words."""
    (toolkit, _), (plain, _) = pair
    return (
        f"{toolkit / pictures:.3f} s of processor a picture in batches, {plain / pictures:.3f} s one at a time: "
        f"{plain / toolkit:.2f} times faster"
    )


def operations(run):
    """Multiplications and additions of one picture, by torch's own count."""
    with FlopCounterMode(display=False) as counter:
        run.reconstruct(stimuli=run.stimulus_ids[:1], progress=SILENT)
    return counter.get_total_flops()


def fastest(side=1024, repeats=5):
    """GFLOP that a second of the processor does in a product of two matrices, which a network does not surpass."""
    matrix, seconds = torch.randn(side, side), []
    for _ in range(repeats):
        began = time.process_time()
        matrix @ matrix
        seconds.append(time.process_time() - began)
    return 2 * side**3 / min(seconds) / 1e9


def main(arguments=None):
    """Print pairs, medians, shares, and the rate of operations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=16, help="test pictures (default 16)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3, help="pairs (default 3)")
    parser.add_argument(
        "--steps", type=int, default=50, help="from noise to a picture, of which 3/4 are done (default 50)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument(
        "--profile", action="store_true", help="print where the processor's time goes, outside of networks too"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        pairs, clock = bench(Path(folder), options.pictures, options.batch_size, options.repeats, options.steps)
        print(f"{options.pictures} pictures in batches of {options.batch_size}, {options.threads} thread(s):")
        for kind, name in enumerate(("processor", "clock")):
            ratio = np.median([plain[kind] / toolkit[kind] for toolkit, plain in pairs])
            print(f"  {name}: {ratio:.2f} times faster than one at a time (median of {len(pairs)})")
        for name, (calls, seconds, _) in clock.calls.items():
            print(f"  {name}: {calls} calls, {seconds / options.pictures:.4f} s a picture")
        processor, seconds = clock.outside()
        print(f"  outside of networks: {processor:.1%} of the processor's time, {seconds:.1%} of the clock's")
        again = emptied(clock.run)
        count = operations(again)
        rates = [count * options.pictures / np.median([pair[way][0] for pair in pairs]) / 1e9 for way in (0, 1)]
        print(
            f"  {count / 1e9:.1f} GFLOP a picture; GFLOP in a second of the processor: {rates[0]:.0f} in batches, {rates[1]:.0f} "
            f"one at a time, {fastest():.0f} in a product of large matrices"
        )
        if options.profile:
            again, profile = emptied(again), cProfile.Profile()
            profile.runcall(again.reconstruct, batch_size=options.batch_size, progress=SILENT)
            pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
