"""Damaged and hostile files that were once not refused: how each is made, and what is expected of the line that reads it."""

import gzip
import shutil
import zipfile
from dataclasses import dataclass, replace

import numpy as np
import torch

from damaged_files import of_any_file, of_arrays, of_pictures, of_tensors, of_text
from damaged_files.damages import (
    another_picture,
    array_in,
    at,
    cell,
    content,
    crafted_source,
    datatype,
    dimensions,
    flipped,
    hdf5,
    lay_bundle,
    lay_lock,
    lay_summary,
    mat,
    mat_packed_and_flipped,
    member,
    member_twice,
    nan_in,
    nifti,
    offset,
    one_pixel,
    outside_values,
    saved,
    stimuli,
    swapped,
    text,
    torch_members,
    turned_order,
    zeros,
)
from damaged_files.places import PLACES, VDVAE, Place

REFUSED = "refused: exit code 2 and one sentence that names the file"
TOLD = "refused, or told in a note, or the same result"
READ = "refused, or read right"
MENDED = "exit code 0 and the same result"
UNTOUCHED = "refused or done, and nothing written outside"


@dataclass(frozen=True)
class Row:
    """One damaged file.

    Attributes
    ----------
    name : str
    place : Place
    make : callable or None
        ``make(path)`` damages the valid file at `path`; None if `lay` does all of it.
    expected : str
        One of `REFUSED`, `TOLD`, `READ`, `MENDED`, `UNTOUCHED`.
    lay : callable or None
        ``lay(sandbox, source)``: puts something else than one file; `source` is None where it is to be made.
    named : tuple of str
        Words one of which the sentence has to hold, beside the name of the file.
    """

    name: str
    place: Place
    make: object
    expected: str = REFUSED
    lay: object = None
    named: tuple = ()


_FIT_AGAIN = (
    "fit brain-diffuser nsd:{here}/nsd --weights tiny --out {here}/run --features {here}/features "
    "--set generator.num_inference_steps=2"
)
_FITTED = Place("run", "run/decoder/model.safetensors", _FIT_AGAIN, "{here}", "{here}/run/decoder/model.safetensors")
_SUMMARY = Place("run", "run/decoder/config.json", _FIT_AGAIN, "{here}", "{here}/run/decoder/config.json")
_LOCK = Place(
    "npz", "arr.npz", "benchmark arrays:{here}/arr.npz --methods mean-image --heldout none --controls none --out {here}/bench",
    "{here}/bench", ""
)  # fmt: skip
_BUNDLE = Place(
    "weights",
    f"weights/{VDVAE}",
    "weights pull vdvae-imagenet64 --from {here}/bundle/a/b/c/d/weights",
    "{home}/.cache/brainrecon/weights",
    "",
    lambda here: shutil.copytree(here / "weights", here / "bundle/a/b/c/d/weights"),
)

# The rows: name of a place -> what follows in the row's name -> how it is made

_CUT_OFF = content(lambda whole: gzip.compress(gzip.decompress(whole)[:-40]))
_DEEP, _DEEP_TOML = text(b"[" * 100_000), text(b"a = " + b"[" * 60_000)
_BOMBS = {
    "png_header_20000x20000": text(of_pictures.huge_picture()),
    "png_zTXt_bomb": text(of_pictures.picture_of_text()),
}

_MADE = {
    "data-BData_dir": {"h5_10-12_rows": hdf5("dataset", "many")},
    "data-BData_miyawaki": {"h5_10-12_rows": hdf5("dataset", "many")},
    "data-BIDS_NIfTI": {
        "nii_data_cut": _CUT_OFF,
        "nii_datatype_128": datatype(128),
        "nii_datatype_2304": datatype(2304),
        "nii_dim0_9": dimensions(9),
    },
    "data-BIDS_events_tsv": {
        "cell_stimulus_id_-_": (cell("stimulus_id", "", 4), TOLD),
    },
    "data-BIDS_picture": {"png_16_bit": (text(of_pictures.grey_of_16_bit()), TOLD), **_BOMBS},
    "data-ROI_volume": {"nii_dim0_9": dimensions(9), "nii_negative_dim": nifti(42, "<h", -4)},
    "data-arrays_HDF5": {
        "flip100": (flipped(100, 0, 4000), TOLD),
        "h5_10-12_rows": hdf5("stimulus_ids", "many"),
    },
    "data-arrays_betas-npy": {
        "flip100": (flipped(100), TOLD),
        "npy_negative": content(of_arrays.npy_shape, "(3, -4)"),
        "zero-block": (zeros(0.3, 512), TOLD),
    },
    "data-arrays_captions-json": {"json_deep": _DEEP, "json_train010_-_None": at("train010", value=None)},
    "data-arrays_images-npy": {
        "npy_header_bomb": content(of_arrays.npy_brackets),
        "npy_negative": content(of_arrays.npy_shape, "(3, -4)"),
    },
    "data-arrays_roi-npy": {
        "npy_10-12_rows": content(of_arrays.npy_shape, "(1000000000000,)"),
        "zero-block": zeros(0.1, 64),
    },
    "data-arrays_subject-json": {
        "json_caption_choices_-_nan": at("caption_choices", value=float("nan")),
        "json_deep": _DEEP,
    },
    "data-betas_HDF5": {
        "h5_all_zero": (hdf5("betas", "zeros"), TOLD),
        "h5_group": hdf5("betas", "group"),
        "h5_loop": hdf5("betas", "loop"),
    },
    "data-betas_NIfTI": {
        "nii_datatype_16": datatype(16),
        "nii_dim0_9": dimensions(9),
        "nii_offset_-1": offset(-1),
        "nii_offset_nan": offset(float("nan")),
    },
    "data-digits_-mat": {
        "empty": text(b""),
        "mat_compressed_flip": mat_packed_and_flipped,
        "mat_y_test_complex": (mat("y_test", "complex"), TOLD),
    },
    "data-expdesign_-mat": {
        "empty": text(b""),
        "flip1-a": flipped(1, 700, 800),
        "mat_compressed_flip": flipped(3, 300, 400),
        "mat_masterordering_sparse": mat("masterordering", "sparse"),
        "mat_sharedix_char": (mat("sharedix", "text"), TOLD),
        "zero-head64": content(of_any_file.zero_head, None),
    },
    "data-god_picture": _BOMBS,
    "data-imgBrick": {
        "h5_10-12_rows": (hdf5("imgBrick", "many"), TOLD),
        "h5_external_absent": hdf5("imgBrick", "external"),
    },
    "data-instances_JSON": {"json_deep": _DEEP, "json_huge_int": content(of_text.huge_number, None)},
    "data-ncsnr": {
        "nii_datatype_0": datatype(0),
        "nii_datatype_128": datatype(128),
        "nii_datatype_256": (datatype(256), TOLD),
        "nii_offset_nan": offset(float("nan")),
    },
    "data-packed_HDF5_betas": {"h5_loop": hdf5("betas", "loop")},
    "data-packed_HDF5_pictures": {"flip100": (flipped(100, 0, 2000), TOLD)},
    "data-packed_npy_betas": {"npy_negative": content(of_arrays.npy_shape, "(3, -4)")},
    "data-packed_npy_pictures": {"npy_negative": content(of_arrays.npy_shape, "(3, -4)")},
    "data-packed_npz": {
        "npz_arr_0-_npy_10-12_rows": member("arr_0.npy", lambda one: of_arrays.npy_shape(one, "(1000000000000, 7)")),
        "npz_arr_0-_npy_header_bomb": member("arr_0.npy", of_arrays.npy_brackets),
    },
    "data-packed_npz_pictures": {
        "npz_test_images-_npy_header_bomb": member("test_images.npy", of_arrays.npy_brackets),
    },
    "data-responses_tsv": {
        "cell_RUN_-_-99999999999999999999": cell("RUN", "9" * 20),
        "cell_RUN_-_-x": cell("RUN", "x"),
    },
    "data-stimulus_csv": {"cell_cocoId_-_-99999999999999999999": cell("cocoId", "9" * 20)},
    "run-benchmark-toml": {"empty": text(b"")},
    "run-benchmark_scores_JSON": {
        # The next step of a benchmark makes scores again that are not as they were written.
        "json_checkpoints_-_-1": (at("checkpoints", value=-1), TOLD),
        "json_data_-_True": (at("data", value=True), TOLD),
    },
    "run-captions_JSON": {"json_nsd00040_-_-1": at("nsd00040", value=-1)},
    "run-config_TOML": {"toml_deep": _DEEP_TOML},
    "run-decoder_config-json": {
        "json_error_-_": at("error", value=[]),
        "json_n_stimuli_-_nan": at("n_stimuli", value=float("nan")),
        "json_parameters_-_0": at("parameters", value=0),
    },
    "run-decoder_model-safetensors": {
        "st_one_nan_in_training_patterns_": nan_in("training_patterns_"),
        "st_two_swapped": swapped("voxel_mean_", "voxel_scale_"),
        "st_zeros_in_training_patterns_": content(of_tensors.zeros_in_tensor, "training_patterns_"),
        "zero-block": zeros(0.5, 4096),
    },
    "run-embeddings_-reconstruct": {
        "flip100": flipped(100, 4000),
        "st_ids_ints": stimuli(lambda names: list(range(len(names)))),
        "st_ids_null": stimuli(lambda names: None),
        "st_ids_reversed": stimuli(lambda names: names[::-1]),
        "st_ids_twice": stimuli(lambda names: names[:1] * len(names)),
    },
    "run-encoding_model_config-json": {"json_deep": _DEEP},
    "run-encoding_model_ridge_config-json": {
        "json_held_out_correlation_": at("held_out_correlation", value=-1),
        "json_kept_-_True": at("kept", value=True),
        "json_parameters_-_nan": at("parameters", value=float("nan")),
    },
    "run-encoding_model_ridge_model-safetensors": {
        "st_zeros_in_coef_": content(of_tensors.zeros_in_tensor, "coef_"),
        "zero-block": zeros(0.5, 512),
    },
    "run-method_TOML": {"toml_method_-_": text("method = {}\nsize = 64\nalpha = 1000.0\n")},
    "run-protocol_TOML": {"toml_deep": _DEEP_TOML},
    "run-run_config-toml": {"toml_deep": _DEEP_TOML},
    "run-run_environment-json": {
        "bom": (content(lambda whole: b"\xef\xbb\xbf" + whole), READ),
        "empty": text(b""),
        "flip100": flipped(100),
        "flip3-head": content(lambda whole: whole.replace(b'"checkpoints"', b"'checkpoints'")),
        "is-a-png": text(of_any_file.SMALL_PNG),
        "json__-_None": text("null"),
        "json_checkpoints_-_0": at("checkpoints", value=0),
        "json_huge_int": content(of_text.huge_number, None),
        "json_list": text("[]"),
        "junk-after": content(lambda whole: whole + bytes(range(256))),
        "utf16": content(lambda whole: whole.decode().encode("utf-16")),
        "zero-block": zeros(0.1, 64),
    },
    "run-run_picture_PNG": {"other_picture": another_picture, **_BOMBS},
    "run-run_stage-one_PNG_-reconstruct": {"png_1x1": one_pixel, **_BOMBS, "zero-block": zeros(0.5, 64)},
    "run-scores_JSON": {"json_deep": _DEEP},
    "weights": {
        "flip1-a": (flipped(1, 8000, 9000), READ),
        "th-big-endian": (torch_members(turned_order), READ),
        "th-deflated": (torch_members(lambda members: None, zipfile.ZIP_DEFLATED), READ),
        "th-empty": (saved(dict), READ),
        "th-expanded-10-11": (saved(lambda: {"a": torch.zeros(1).expand(10**11)}), READ),
        "th-int-keys": (saved(lambda: {1: torch.zeros(3)}), READ),
        "th-nested-tensor": (saved(lambda: {"a": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}), READ),
        "th-sparse": (saved(lambda: {"a": torch.eye(3).to_sparse()}), READ),
    },
}


def _rows():
    for name, made in _MADE.items():
        for suffix, how in made.items():
            make, expected = how if isinstance(how, tuple) else (how, REFUSED)
            yield Row(f"{name}-{suffix}", PLACES[name], make, expected)
    weights, pictures = PLACES["weights"], PLACES["data-imgBrick"]
    yield Row("weights-tar-twice", PLACES["weights-tar"], member_twice, READ)
    yield Row(
        "data-imgBrick-h5_all_zero", pictures, hdf5("imgBrick", "zeros"), TOLD, named=("/nsd are one and the same",)
    )
    events = "data-BIDS_events_tsv"
    of_folder = ("Column split of the events in",)
    yield Row(f"{events}-cell_split_-_-nan", PLACES[events], cell("split", "nan", 3), TOLD, named=of_folder)
    split, subject = "sec-npz-split-name-traversal.npz", "sec-npz-subj-name-traversal.npz"
    yield Row(split, PLACES[split], array_in(split=lambda old: np.where(old == "test", "../../escaped-split", old)))
    yield Row(subject, PLACES[subject], array_in(subject=lambda old: np.array(["../../../escaped-subject"])))
    eps, embeddings = "sec-eps-named-png-runs-gs.png", "sec-run-folder-embeddings-traversal"
    yield Row(eps, PLACES[eps], content(of_pictures.picture_program, None))
    yield Row(embeddings, PLACES[embeddings], stimuli(lambda names: ["a/../../../../escaped-picture", *names[1:]]))
    yield Row("sec-lock-symlink-truncates.tar.gz", _LOCK, None, UNTOUCHED, lay_lock, (".plan/.lock",))
    yield Row("sec-pulled-json-writes-anywhere.tar.gz", _BUNDLE, None, REFUSED, lay_bundle, (".pulled.json",))
    yield Row("race-two-fits-wrong-summary.tar.gz", _SUMMARY, None, READ, lay_summary)
    # Rows without a file, in the words of the table.
    zeros = content(lambda whole: bytes(len(whole)))
    yield Row(MAKE_ZEROS, _FITTED, zeros, MENDED)
    # Torch itself would compile the source: that it ends is all.
    yield Row(MAKE_SOURCE, replace(weights, result=""), crafted_source, UNTOUCHED)
    for kind in ("storage", "link", "set"):
        yield Row(f"{MAKE_OUTSIDE} [{kind}]", pictures, outside_values(kind))


MAKE_ZEROS = "(make it: overwrite decoder/model.safetensors of a finished run with zeros)"
MAKE_SOURCE = "(make it: a TorchScript archive whose source makes a regular expression run for ever)"
MAKE_OUTSIDE = (
    "(make it: nsd_stimuli.hdf5 whose imgBrick has external storage, an external link, "
    "or is a virtual set over another file)"
)
ROWS = {row.name: row for row in _rows()}
"""Name -> row; those that a table names together have a word in brackets behind the name."""


def rows_named(name):
    """The rows of one line of a table."""
    return [row for one, row in ROWS.items() if one == name or one.startswith(f"{name} [")]
