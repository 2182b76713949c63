"""Published files of weights: read without running what they say, and converted once to safetensors.

A `.pth`, `.th`, `.pt` or `.bin` holds a pickle, and loading a pickle runs what it says. Plain dicts of tensors are read
with torch's ``weights_only``, TorchScript archives by `weights.torchscript`; both build tensors and run nothing else.
A `.caffemodel` is read by `weights.caffemodel`, a checkpoint of TensorFlow 1 by `weights.tf_checkpoint`. Of an archive one file
is taken. Of a dictionary in which the state of a training lies beside the tensors, the entry with the tensors is taken and the
rest forgotten.
"""

import re
import shutil
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

from weights.caffemodel import read_caffemodel
from weights.contents import why_no_tensors
from weights.manifest import PICKLES, CheckpointError
from weights.partial_files import partial_name
from weights.tf_checkpoint import is_tf_checkpoint, read_tf_checkpoint
from weights.torchscript import check_archive, is_torchscript, read_torchscript
from weights.whole_files import named_errors, put_in_place, whole_file

# Data-parallel training leaves this before every name.
_PARALLEL = "module."
# What OpenAI's archives keep beside the weights: facts about the model, and a mask that follows from its length.
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
# What the state of a training may name: a function of its learning rate's schedule, as getattr(class, name), which older
# releases of torch kept there; numbers and arrays of NumPy; and the settings of MinD-Vis, which its scripts keep there as an
# object of a class of their own.
_OF_TRAININGS = (
    "builtins.getattr",
    "torch.optim.lr_scheduler.OneCycleLR",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "config.Config_MAE_fMRI",
    "config.Config_MBM_fMRI",
    "config.Config_MBM_finetune",
    "config.Config_Generative_Model",
)


class _LeftOut:
    """Stands in for what a file names beside its tensors: it does nothing and is thrown away."""

    def __init__(self, *_):
        pass

    def __setstate__(self, _):
        pass


def read_tensors(path, in_place=False, entry=None):
    """Read a file of weights onto the CPU.

    Parameters
    ----------
    path : path
        Safetensors, a pickled dict of tensors, a TorchScript archive, a `.caffemodel`, or a checkpoint of TensorFlow 1.
    in_place : bool
        Leave the tensors of a pickle in the file where its format allows that, and read them when they are used.
    entry : str, optional
        Of a pickled dictionary, what holds the tensors, where the state of a training lies beside them. Dictionaries within it
        count as one: a tensor is called by all keys on the way to it, with dots between them.

    Returns
    -------
    tensors : dict of str to tensor
        As stored.

    Raises
    ------
    CheckpointError
        The file cannot be read without running what it says, or holds anything but named tensors.
    """
    import torch
    from safetensors.torch import load_file

    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".caffemodel":
            return read_caffemodel(path)
        if is_tf_checkpoint(path):
            return read_tf_checkpoint(path)
        plain = check_archive(path) if zipfile.is_zipfile(path) else False
        if is_torchscript(path):
            return read_torchscript(path)
        spare = [] if entry is None else [(_LeftOut, name) for name in _OF_TRAININGS]
        with torch.serialization.safe_globals(spare):
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=in_place and plain)
    # Readers of damaged files raise errors of every kind.
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({why_no_tensors(path, error)}); fetch it again, it is no file of tensors."
        ) from None
    if entry is not None:
        if not isinstance(stored, dict) or entry not in stored:
            held = ", ".join(map(str, list(stored)[:5])) if isinstance(stored, dict) else type(stored).__name__
            raise CheckpointError(
                f"{path} holds {held[:200] or 'nothing'}, but {entry!r} with named tensors was expected; give the file as it "
                "was published."
            )
        stored = _in_one(stored[entry])
    if not isinstance(stored, dict) or not stored or not all(map(_is_named_tensor, stored.items())):
        inside = ", ".join(map(str, list(stored)[:3])) if isinstance(stored, dict) else type(stored).__name__
        raise CheckpointError(
            f"{path} holds {inside[:200] or 'nothing'}, but named tensors were expected; give the file of weights as it was "
            "published."
        )
    return stored


def _in_one(stored, before=""):
    """Dictionaries within dictionaries as one; anything else as it is."""
    if not isinstance(stored, dict):
        return stored
    found = {}
    for key, value in stored.items():
        # A number is the key of a subject, or of a layer.
        name = f"{before}{key}" if isinstance(key, (str, int)) else key
        found |= _in_one(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def _is_named_tensor(entry):
    """Whether a name is text, and what it names an ordinary tensor with all of its values in the file."""
    import torch

    name, value = entry
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        return False
    if value.is_nested or value.is_quantized or value.layout != torch.strided:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def convert(source, destination, member=None, keeps=None, entry=None):
    """Convert a published file of weights to safetensors, or take another file out of an archive.

    Names lose the ``module.`` of data-parallel training where every one has it; values and dtypes stay. The new file
    is compared with the old one, tensor by tensor, before it takes its name.

    Parameters
    ----------
    source : path
        A pickled dict of tensors or a TorchScript archive.
    destination : path
        A `.safetensors` file, or whatever `member` is; appears whole or not at all, in a folder that exists.
    member : str, optional
        Where `source` is a tar archive, compressed or not: the path within it of what is to be converted.
    keeps : str, optional
        Regular expression: the tensors in whose names it is found are converted; by default all.
    entry : str, optional
        As of `read_tensors`.

    Raises
    ------
    CheckpointError
        As for `read_tensors`; nothing is written then.
    OSError
        The new file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    source, destination = Path(source), Path(destination)
    if member is not None:
        with _taken_out(source, member, destination) as pickled:
            if not member.endswith(PICKLES):
                put_in_place(pickled, destination)
                return
            try:
                convert(pickled, destination, keeps=keeps, entry=entry)
            except CheckpointError as error:
                # What was taken out is gone; the archive is what the user has.
                raise CheckpointError(str(error).replace(str(pickled), f"{member} in {source}", 1)) from None
        return
    tensors = read_tensors(source, in_place=True, entry=entry)
    if is_torchscript(source):
        tensors = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in _NO_WEIGHTS}
    if tensors and all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): value for name, value in tensors.items()}
    if keeps is not None:
        kept = {name: value for name, value in tensors.items() if re.search(keeps, name)}
        if not kept:
            raise CheckpointError(
                f"{source} holds {', '.join(list(tensors)[:3]) or 'nothing'}, but names with {keeps!r} were expected; give the "
                "file of weights as it was published."
            )
        tensors = kept
    try:
        with whole_file(destination) as partial:
            save_file(_apart(tensors), partial, metadata={"format": "pt"})
            _compare(tensors, partial, source)
    except SafetensorError as error:
        raise OSError(f"{destination} cannot be written ({error})") from None


@contextmanager
def _taken_out(archive, member, destination):
    """One file of a tar archive, for a while, beside `destination`; its path in the archive decides about nothing."""
    taken = partial_name(destination.with_suffix(Path(member).suffix))
    try:
        try:
            with tarfile.open(archive) as opened:
                found = opened.extractfile(opened.getmember(member))
                if found is None:
                    raise KeyError(f"{member} is no file")
                with named_errors(destination), taken.open("wb") as copy:
                    shutil.copyfileobj(found, copy)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                # Of the disk that is written to.
                raise
            told = why_no_tensors(archive, error)
            raise CheckpointError(f"{archive} gives no {member} ({told}); fetch it again.") from None
        yield taken
    finally:
        taken.unlink(missing_ok=True)


def _apart(tensors):
    """The tensors with memory of their own, as safetensors wants them; tied weights are written twice."""
    seen, apart = set(), {}
    for name, value in tensors.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone().contiguous() if place in seen else value.contiguous()
        seen.add(place)
    return apart


def _compare(tensors, written, source):
    import torch
    from safetensors import safe_open

    with safe_open(written, framework="pt") as file:
        names = set(file.keys())
        for name, value in tensors.items():
            found = file.get_tensor(name) if name in names else None
            # Bytes rather than values: a NaN is equal to itself here.
            if found is None or found.dtype != value.dtype or not torch.equal(_bytes(found), _bytes(value)):
                raise OSError(f"tensor {name} of {source} came out otherwise than it went in; the disk may be failing")


def _bytes(tensor):
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
