"""Where a damaged file is put: valid data of every kind, the place of one file in them, and the line that is typed."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from array_files import WRITERS
from bids_study import Study
from drawn_digits import write_digits
from kamitani_files import Dir, God
from packed_layouts import write_brain_diffuser, write_mind_vis, write_mindeye2
from PIL import Image

import brainrecon
from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.reader import write_template

VDVAE = "imagenet64-iter-1600000-model-ema.th"
PROTOCOLS = Path(brainrecon.__file__).parent / "evaluation" / "protocols"
ICGAN = "icgan_biggan_imagenet_res256.tar.gz"


def typed(*line):
    """Type a line that has to succeed."""
    if run_command([str(part) for part in line]):
        raise RuntimeError(f"The valid line failed: {line}")


# Valid data: each writes into a folder that is its own


def write_cohort(folder):
    """A subject in the NSD's files: `nsd/`."""
    options = "--sessions 3 --shared 12 --trials-per-session 60 --voxels 300 --betas-format both"
    typed("simulate", folder / "nsd", *options.split())


def write_run(folder):
    """A finished run of a method, `run/`, its feature store, `features/`, and what it was made of."""
    write_cohort(folder)
    typed(
        *("run", "brain-diffuser", f"nsd:{folder / 'nsd'}", "--weights", "tiny", "--out", folder / "run"),
        *("--features", folder / "features", "--set", "generator.num_inference_steps=2", "--controls", "none"),
    )
    identifiers = brainrecon.load(f"nsd:{folder / 'nsd'}").train.stimulus_ids
    (folder / "captions.json").write_text(json.dumps({one: ["a thing"] for one in identifiers}))
    shutil.copyfile(folder / "run" / "config.toml", folder / "mine.toml")
    shutil.copyfile(PROTOCOLS / "brainrecon-1.toml", folder / "protocol.toml")


def write_pictures(folder):
    """The pictures of a run, `pictures/`, and what was shown."""
    write_cohort(folder)
    (folder / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for identifier in brainrecon.load(f"nsd:{folder / 'nsd'}").test.stimulus_ids:
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "pictures" / f"{identifier}.png")


def write_arrays(folder):
    """Arrays in a folder, `arrays/`."""
    write_template(folder / "arrays")


def arrays_of_a_file():
    """Arrays as they stand in one file."""
    draw = np.random.default_rng(0)
    names = np.array([f"s{number:02d}" for number in range(8)])
    return {
        "betas": draw.normal(size=(16, 30)).astype(np.float32),
        "stimulus_ids": np.tile(names, 2),
        "split": np.tile(np.array(["train"] * 5 + ["test"] * 3), 2),
        "images": draw.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        "image_ids": names,
        "roi_V1": np.arange(30) < 9,
    }


def write_array_file(layout, name):
    """Writer of arrays in one file."""

    def write(folder):
        WRITERS[layout][0](folder / name, arrays_of_a_file())
        (folder / "method.toml").write_text('method = "ridge-to-pixels"\nsize = 16\n')

    return write


def write_benchmark(folder):
    """A finished benchmark, `bench/`, and its data."""
    write_array_file("npz", "arr.npz")(folder)
    typed(*f"benchmark arrays:{folder}/arr.npz {NULL_METHOD} --out {folder}/bench".split())


def write_miyawaki(folder):
    """The Miyawaki study, `miya/`."""
    options = "--study miyawaki --voxels 60 --random-patterns 40 --figures 10"
    typed("simulate", folder / "miya", *options.split())


def write_god(folder):
    """Generic Object Decoding, `god/`."""
    God(folder / "god").draw_pictures()


def write_weights(folder):
    """A published checkpoint, `weights/`, with tensors of no meaning."""
    (folder / "weights").mkdir()
    torch.save({"decoder.gain": torch.arange(5000.0), "decoder.bias": torch.ones(7)}, folder / "weights" / VDVAE)


def write_archive_of_weights(folder):
    """A published checkpoint in an archive, `weights/`."""
    (folder / "weights").mkdir()
    torch.save({"linear.weight": torch.arange(5000.0)}, folder / "G.pth")
    with tarfile.open(folder / "weights" / ICGAN, "w:gz") as archive:
        archive.add(folder / "G.pth", "icgan_biggan_imagenet_res256/G_ema_best0.pth")
    (folder / "G.pth").unlink()


NULL_METHOD = "--methods mean-image --heldout none --controls none"

VALID = {
    "cohort": write_cohort,
    "run": write_run,
    "pictures": write_pictures,
    "arrays": write_arrays,
    "npz": write_array_file("npz", "arr.npz"),
    "hdf5": write_array_file("hdf5", "arr.h5"),
    "benchmark": write_benchmark,
    "bids": lambda folder: Study(folder / "bids", 0),
    "dir": lambda folder: Dir(folder / "dir"),
    "god": write_god,
    "miyawaki": write_miyawaki,
    "digits69": lambda folder: write_digits(folder / "digits69.mat"),
    "brain-diffuser": lambda folder: write_brain_diffuser(folder / "packed-bd"),
    "mindeye2": lambda folder: write_mindeye2(folder / "packed-me2"),
    "mind-vis": lambda folder: write_mind_vis(folder / "packed-mv"),
    "weights": write_weights,
    "archive": write_archive_of_weights,
}
"""Name -> ``write(empty folder)``."""


# Places


@dataclass(frozen=True)
class Place:
    """Where one file stands in valid data, and what reads it.

    Attributes
    ----------
    valid : str
        A key of `VALID`.
    file : str
        Below the valid data; a pattern stands for the first that matches.
    line : str
        What is typed behind ``brainrecon``. ``{here}`` is the copy of the valid data, ``{out}`` a folder that is not there.
    named : str
        The folder below which the line may write, with the same words.
    result : str
        The file or folder whose content is the result; nothing if only the exit code is looked at.
    before : callable
        ``before(here)``: what is done to the copy before the file is put there.
    """

    valid: str
    file: str
    line: str
    named: str = "{out}"
    result: str = "{out}"
    before: object = None


def _first(folder, pattern):
    # Not a seal, which is hidden.
    found = sorted(path for path in Path(folder).glob(pattern) if not path.name.startswith("."))
    if not found:
        raise FileNotFoundError(f"No {pattern} in {folder}")
    return found[0]


def where(place, here):
    """The file of a place in a copy of its data."""
    return _first(here, place.file) if "*" in place.file else Path(here) / place.file


def _take_first_picture(here):
    # The first, of which the first file of stage one is read.
    sorted((here / "run" / "images").glob("*.png"))[0].unlink()


def _take_all_pictures(here):
    for folder in ("images", "stage_one"):
        shutil.rmtree(here / "run" / folder)


_PREPARE_NSD = "data prepare nsd:{here}/nsd --out {out}"
_BETAS = "nsd/nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
_STIMULI = "nsd/nsddata_stimuli/stimuli/nsd"
_RUN = {"named": "{here}/run", "result": ""}
_STORE = "--features {here}/features"
_FIT = "fit brain-diffuser nsd:{here}/nsd --weights tiny"


def _prepared(kind, valid, path, file, options=""):
    return Place(valid, file, f"data prepare {kind}:{{here}}/{path} --out {{out}} {options}")


def _nsd(file, options=""):
    return _prepared("nsd", "cohort", "nsd", file, options)


def _of_run(file, line, **others):
    return Place("run", file, line, **(_RUN | others))


_DRAWN = {"before": _take_first_picture, "result": "{here}/run/images"}
_RECONSTRUCT = f"reconstruct {{here}}/run {_STORE}"
_EVALUATE = f"evaluate {{here}}/run {_STORE}"
_SCORED = {"result": "{here}/run/scores/brainrecon-1.csv", "named": "{here}"}
_PREDICT = f"predict {{here}}/run --out {{out}}.safetensors {_STORE}"
_PREDICTED = {"result": "{out}.safetensors", "named": "{out}.safetensors"}
_BENCHMARK = {"named": "{here}/bench", "result": "{here}/bench/leaderboard.csv"}

PLACES = {
    "data-BData_dir": _prepared(
        "dir", "dir", "dir", "dir/sub-01_perceptionNaturalImageTest_original_VC.h5", "--subject subj01"
    ),
    "data-BData_miyawaki": _prepared("miyawaki", "miyawaki", "miya", "miya/visrecon_s1_figure.h5"),
    "data-BIDS_NIfTI": _prepared("arrays", "bids", "bids", "bids/sub-01/ses-01/func/*run-1*_betas.nii.gz"),
    "data-BIDS_events_tsv": _prepared("arrays", "bids", "bids", "bids/sub-01/ses-01/func/*run-1_events.tsv"),
    "data-BIDS_picture": _prepared("arrays", "bids", "bids", "bids/stimuli/p3.png"),
    "data-ROI_volume": _nsd("nsd/nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz"),
    "data-arrays_HDF5": _prepared("arrays", "hdf5", "arr.h5", "arr.h5"),
    "data-arrays_betas-npy": _prepared("arrays", "arrays", "arrays", "arrays/train/betas.npy"),
    "data-arrays_captions-json": _prepared("arrays", "arrays", "arrays", "arrays/train/captions.json"),
    "data-arrays_images-npy": _prepared("arrays", "arrays", "arrays", "arrays/train/images.npy"),
    "data-arrays_roi-npy": _prepared("arrays", "arrays", "arrays", "arrays/rois/early.npy"),
    "data-arrays_subject-json": _prepared("arrays", "arrays", "arrays", "arrays/subject.json"),
    "data-betas_HDF5": _nsd(f"{_BETAS}/betas_session02.hdf5", "--option format=hdf5"),
    "data-betas_NIfTI": _nsd(f"{_BETAS}/betas_session02.nii.gz", "--option format=nifti"),
    "data-digits_-mat": _prepared("digits69", "digits69", "digits69.mat", "digits69.mat"),
    "data-expdesign_-mat": _nsd("nsd/nsddata/experiments/nsd/nsd_expdesign.mat"),
    "data-god_picture": _prepared("god", "god", "god", "god/images/test/*", "--subject subj01"),
    "data-imgBrick": _nsd(f"{_STIMULI}/nsd_stimuli.hdf5"),
    "data-instances_JSON": _nsd(f"{_STIMULI}/annotations/instances_val2017.json"),
    "data-ncsnr": _nsd(f"{_BETAS}/ncsnr.nii.gz"),
    "data-packed_HDF5_betas": _prepared(
        "packed", "mindeye2", "packed-me2", "packed-me2/betas_all_subj01_fp32_renorm.hdf5"
    ),
    "data-packed_HDF5_pictures": _prepared(
        "packed", "mindeye2", "packed-me2", "packed-me2/coco_images_224_float16.hdf5"
    ),
    "data-packed_npy_betas": _prepared(
        "packed",
        "brain-diffuser",
        "packed-bd",
        "packed-bd/processed_data/subj01/nsd_test_fmriavg_nsdgeneral_sub1.npy",
    ),
    "data-packed_npy_pictures": _prepared(
        "packed", "brain-diffuser", "packed-bd", "packed-bd/processed_data/subj01/nsd_test_stim_sub1.npy"
    ),
    "data-packed_npz": _prepared("packed", "mind-vis", "packed-mv", "packed-mv/sbj_3.npz"),
    "data-packed_npz_pictures": _prepared("packed", "mind-vis", "packed-mv", "packed-mv/images_256.npz"),
    "data-responses_tsv": _nsd("nsd/nsddata/ppdata/subj01/behav/responses.tsv"),
    "data-stimulus_csv": _nsd("nsd/nsddata/experiments/nsd/nsd_stim_info_merged.csv"),
    "run-benchmark-toml": Place("benchmark", "bench/benchmark.toml", "benchmark --out {here}/bench", **_BENCHMARK),
    "run-benchmark_scores_JSON": Place(
        "benchmark", "bench/*/*/*/scores/*.json", "benchmark --out {here}/bench", **_BENCHMARK
    ),
    "run-captions_JSON": Place(
        "run", "captions.json", f"{_FIT} {_STORE} --captions {{here}}/captions.json --out {{out}}", named="{here}"
    ),
    "run-config_TOML": Place("run", "mine.toml", f"fit --config {{here}}/mine.toml {_STORE} --out {{out}}", result=""),
    "run-decoder_config-json": _of_run("run/decoder/config.json", _PREDICT, **_PREDICTED),
    "run-decoder_model-safetensors": _of_run("run/decoder/model.safetensors", _PREDICT, **_PREDICTED),
    "run-embeddings_-reconstruct": _of_run("run/embeddings/test.safetensors", _RECONSTRUCT, **_DRAWN),
    "run-encoding_model_config-json": _of_run("features/encoding/*/config.json", _EVALUATE, **_SCORED),
    "run-encoding_model_ridge_config-json": _of_run("features/encoding/*/ridge/config.json", _EVALUATE, **_SCORED),
    "run-encoding_model_ridge_model-safetensors": _of_run(
        "features/encoding/*/ridge/model.safetensors", _EVALUATE, **_SCORED
    ),
    "run-method_TOML": Place(
        "npz",
        "method.toml",
        "benchmark arrays:{here}/arr.npz --methods {here}/method.toml --heldout none --controls none --out {out}",
        result="",
    ),
    "run-protocol_TOML": _of_run("protocol.toml", f"{_EVALUATE} --protocol {{here}}/protocol.toml"),
    "run-run_config-toml": _of_run("run/config.toml", "report {here}/run"),
    "run-run_environment-json": _of_run("run/environment.json", _RECONSTRUCT, **_DRAWN),
    "run-run_picture_PNG": _of_run("run/images/*.png", _EVALUATE, **_SCORED),
    "run-run_stage-one_PNG_-reconstruct": _of_run("run/stage_one/*.png", _RECONSTRUCT, **_DRAWN),
    "run-scores_JSON": _of_run("run/scores/brainrecon-1.json", "report {here}/run"),
    "sec-eps-named-png-runs-gs.png": Place(
        "pictures",
        "pictures/*.png",
        "evaluate --images {here}/pictures --truth nsd:{here}/nsd --out {out}",
        result="",
    ),
    "sec-npz-split-name-traversal.npz": _prepared("arrays", "npz", "arr.npz", "arr.npz"),
    "sec-npz-subj-name-traversal.npz": Place(
        "npz", "arr.npz", f"benchmark arrays:{{here}}/arr.npz {NULL_METHOD} --out {{out}}", result=""
    ),
    "sec-run-folder-embeddings-traversal": _of_run(
        "run/embeddings/test.safetensors", _RECONSTRUCT, before=_take_all_pictures
    ),
    "weights": Place(
        "weights",
        f"weights/{VDVAE}",
        "weights pull vdvae-imagenet64 --from {here}/weights",
        named="{home}/.cache/brainrecon/weights",
        result="{home}/.cache/brainrecon/weights/vdvae-imagenet64/model.safetensors",
    ),
    "weights-tar": Place(
        "archive",
        f"weights/{ICGAN}",
        "weights pull icgan-biggan-imagenet256 --from {here}/weights",
        named="{home}/.cache/brainrecon/weights",
        result="{home}/.cache/brainrecon/weights/icgan-biggan-imagenet256/model.safetensors",
    ),
}
"""Name, with which those of rows begin -> place."""
