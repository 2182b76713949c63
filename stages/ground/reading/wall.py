"""The one wall around readers: whatever a library raises at a damaged file becomes one sentence with the file's name."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.ground.errors import InputError
from weights.contents import what_it_is

# Of HDF5 and others, where another program holds the file.
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.ETXTBSY)
# Of disks and servers, where the file itself may be whole.
_OF_THE_DISK = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO)


@contextmanager
def reading(path: str | Path, kind: str, remedy: str = "copy the file again") -> Iterator[None]:
    """Say in one sentence what is wrong with a file that is read within the block.

    >>> with reading("subject.json", "JSON", "mend it"):  # doctest: +SKIP
    ...     json.loads(Path("subject.json").read_text())

    Parameters
    ----------
    path : path
    kind : str
        What it is read as, for the sentence.
    remedy : str
        What to do about it.

    Raises
    ------
    InputError
        Whatever was raised within, except errors that are such sentences themselves.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise InputError(f"{path} is a link to a file that is not there; fetch that file, or {remedy}.") from None
        if Path(path).exists():
            raise
        raise InputError(f"There is no file {path}; name one that is there.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder where a file of {kind} was expected; {remedy}.") from None
    except MemoryError as error:
        raise InputError(
            f"{path} asks for more memory than there is ({one_line(error)}); {remedy}, if it should be smaller."
        ) from None
    except RecursionError:
        raise InputError(f"{path} is nested too deep for {kind}; {remedy}.") from None
    except Exception as error:
        raise _refusal(Path(path), kind, remedy, error) from error


def _refusal(path: Path, kind: str, remedy: str, error: Exception) -> InputError:
    number = getattr(error, "errno", None)
    text = one_line(error)
    if "unable to lock file" in text or (number in _HELD and path.is_file() and _readable(path)):
        return InputError(
            f"{path} is whole as far as one can tell, but another program holds it or its disk knows no locks ({text}); close "
            "that program, or export HDF5_USE_FILE_LOCKING=FALSE."
        )
    if isinstance(error, PermissionError):
        return InputError(f"{path} may not be read by this user ({text}); ask its owner, or take a copy.")
    if number in _OF_THE_DISK:
        return InputError(f"The disk of {path} does not give its content ({text}); try again, then look at the disk.")
    found = what_it_is(path) or ""
    # A damaged file of the right kind begins as one.
    is_of_kind = any(word in found for word in kind.split() if len(word) > 3 and word != "file") or (
        "gzip" in found and path.suffix == ".gz"
    )
    is_other = f": it is {found}" if found and not is_of_kind else ""
    return InputError(f"{path} cannot be read as {kind} ({text}){is_other}; {remedy}.")


def _readable(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.read(1)
        return True
    except OSError:
        return False


def one_line(error: BaseException) -> str:
    r"""An error's text without line breaks and control characters, 200 characters at most; its name if it has none.

    >>> one_line(ValueError("first\n  second"))
    'first second'
    """
    text = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in str(error)).split())
    text = text if len(text) <= 200 else text[:197] + "..."
    return text or type(error).__name__
