"""The tensors in a TorchScript archive, read without running what the archive says.

OpenAI published CLIP as TorchScript: a zip archive with the code of a model, a pickle of its modules, and the bytes of
its tensors. ``torch.jit.load`` compiles that code and may run parts of it. Here the pickle is read by an unpickler
that knows tensors, plain containers and an inert stand-in for every module, and refuses anything else.
"""

import ast
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

from weights.compression import MOST_BY_COMPRESSION

# What storages are called in the pickle, and the torch dtype of their elements.
_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
# Of names, in the code of one class.
LONGEST_LIST = 100_000
# How TorchScript writes lists of one type: the list itself is the first argument.
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")


class _Module:
    """Stands in for a module of the archive: its attributes, and nothing that can be called."""

    qualified_name = ""

    def __setstate__(self, attributes):
        self.attributes = attributes


def is_torchscript(path) -> bool:
    """Whether a file is a TorchScript archive; False too for what cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.endswith("/constants.pkl") for name in names)


def check_archive(path) -> bool:
    """Refuse an archive of torch that is damaged or would unpack without end.

    Returns
    -------
    plain : bool
        Whether its tensors can be read where they lie: stored as they are, and in this machine's order of bytes.

    Raises
    ------
    zipfile.BadZipFile
        A member's checksum is wrong, or it claims more bytes than its compressed ones can become.
    """
    with zipfile.ZipFile(path) as archive:
        members, order = archive.infolist(), sys.byteorder.encode()
        for member in members:
            if member.file_size > MOST_BY_COMPRESSION * max(member.compress_size, 1):
                raise zipfile.BadZipFile(f"{member.filename} claims {member.file_size:,} bytes")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        for member in members:
            if member.filename.endswith("/byteorder"):
                order = archive.read(member).strip()
    return all(member.compress_type == zipfile.ZIP_STORED for member in members) and order == sys.byteorder.encode()


def read_torchscript(path):
    """Read the parameters and buffers of a TorchScript archive onto the CPU.

    Parameters
    ----------
    path : path

    Returns
    -------
    tensors : dict of str to tensor
        As stored, under the names that ``torch.jit.load(path).state_dict()`` has for them.

    Raises
    ------
    pickle.UnpicklingError
        The archive asks for something else than modules that hold tensors.
    OSError, zipfile.BadZipFile, KeyError, ValueError, RuntimeError
        The file is no whole archive, or its tensors reach beyond their bytes.
    """
    with zipfile.ZipFile(Path(path)) as archive:
        names = archive.namelist()
        pickled = next((name for name in names if name.endswith("/data.pkl") and name.count("/") == 1), None)
        if pickled is None:
            raise KeyError("it holds no data.pkl")
        root = pickled.removesuffix("data.pkl")
        with archive.open(pickled) as stream:
            model = _Unpickler(stream, archive, root).load()
        if not isinstance(model, _Module):
            raise pickle.UnpicklingError(f"it holds a {type(model).__name__} and no module")
        tensors = {}
        _collect(model, "", _Declarations(archive, root), tensors)
    return tensors


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream, archive, root):
        super().__init__(stream, encoding="utf-8")
        self._archive, self._root = archive, root
        self._storages = {}

    def find_class(self, module, name):
        """Return one of the few things that a module of tensors is made of."""
        if module == "__torch__" or module.startswith("__torch__."):
            return type("Module", (_Module,), {"qualified_name": f"{module}.{name}"})
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch.jit._pickle" and name in _LISTS:
            return lambda values, *_: values
        raise pickle.UnpicklingError(f"it asks to run {module}.{name}")

    def persistent_load(self, reference):
        """Return the bytes that a tensor refers to, as a flat tensor."""
        import torch

        kind, dtype, key, _, count = reference
        if kind != "storage" or dtype not in _DTYPES.values() or not re.fullmatch(r"\w+", str(key)):
            raise pickle.UnpicklingError(f"it refers to {reference!r}")
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._root}data/{key}"))
            dtype = getattr(torch, dtype)
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        if len(self._storages[key]) < count:
            raise pickle.UnpicklingError(f"storage {key} has {len(self._storages[key])} of {count} values")
        return self._storages[key]


def _tensor(storage, offset, size, stride, *_):
    return storage.as_strided(size, stride, offset)


class _Declarations:
    """Which attributes of a class the archive's code declares as parameters and buffers; the code is only read."""

    def __init__(self, archive, root):
        self._archive, self._root = archive, root
        self._known = {}

    def of(self, qualified_name):
        """Set of attribute names, or None if the code does not say (files from before torch 1.5)."""
        if qualified_name not in self._known:
            module, _, name = qualified_name.rpartition(".")
            try:
                code = self._archive.read(f"{self._root}code/{module.replace('.', '/')}.py").decode()
            except KeyError:
                code = ""
            self._known[qualified_name] = _declared(code, name)
        return self._known[qualified_name]


def _declared(code, name):
    """Names in ``__parameters__ = [...]`` and ``__buffers__ = [...]`` of one class; a line is looked at once."""
    lists, within = {}, False
    for line in code.splitlines():
        if line.strip() and not line.startswith(" "):
            within = line == f"class {name}(Module):"
        kind, equals, written = line.strip().partition(" = ")
        if within and equals and kind in ("__parameters__", "__buffers__") and len(written) <= LONGEST_LIST:
            lists.setdefault(kind, ast.literal_eval(written.partition("]")[0] + "]"))
    return {each for found in lists.values() for each in found} if len(lists) == 2 else None


def _collect(module, prefix, declarations, tensors):
    import torch

    declared = declarations.of(module.qualified_name)
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", declarations, tensors)
        elif isinstance(value, torch.Tensor) and (declared is None or name in declared):
            tensors[prefix + name] = value
