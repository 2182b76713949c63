"""The instructions of pickle's protocols 2 to 5, as far as plain values and arrays need them: no name is ever looked up."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from stages.ground.reading.pickled_arrays import CALLS, NAMES, Array, Name, Raw, Type, array_of, text_of

MOST_INSTRUCTIONS = 5_000_000
"""Of one pickle; lists of 100,000 names take 300,000."""
_LONGEST_NAME = 200


class Machine:
    """Follows the instructions of one pickle.

    Parameters
    ----------
    content : memoryview
        Of bytes: the whole file.
    place : int
        Where the pickle begins in it.
    names : dict of str to tuple of str
        Module -> names that it may use.
    calls : dict of str to callable
        Further names that are called -> ``call(*arguments)``, which makes a plain value or a `Deferred`.
    outside : callable, optional
        ``outside(reference)`` for what a pickle refers to beside itself.

    Attributes
    ----------
    place : int
        Where the next instruction is.
    """

    def __init__(
        self,
        content: memoryview,
        place: int = 0,
        names: dict[str, tuple[str, ...]] = NAMES,
        calls: dict[str, Callable] | None = None,
        outside: Callable | None = None,
    ) -> None:
        self.content, self.place = content, place
        self._names, self._outside = names, outside
        self._calls = CALLS | (calls or {})
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the pickle holds; values are made plain by `plain`."""
        for _ in range(MOST_INSTRUCTIONS):
            begin = self.place
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                if len(self._stack) != 1 or self._marks:
                    raise ValueError("it ends before its values are complete")
                return self._stack[0]
            if code not in _INSTRUCTIONS:
                raise ValueError(f"the instruction {code:#04x} at byte {begin:,} is none that plain values need")
            try:
                _INSTRUCTIONS[code](self)
            except (IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError):
                raise ValueError(f"its instruction {code:#04x} at byte {begin:,} makes no sense there") from None
        raise ValueError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def _take(self, size: int) -> memoryview:
        end = self.place + size
        if end > len(self.content):
            raise EOFError(f"it ends {end - len(self.content):,} bytes too early")
        found, self.place = self.content[self.place : end], end
        return found

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop_to_mark(self) -> list:
        mark = self._marks.pop()
        if mark > len(self._stack):
            raise IndexError
        found = self._stack[mark:]
        del self._stack[mark:]
        return found

    def _line(self) -> str:
        found = bytes(self.content[self.place : self.place + _LONGEST_NAME])
        line, end, _ = found.partition(b"\n")
        if not end:
            raise ValueError("it has a name without an end")
        self.place += len(line) + 1
        return line.decode()

    def _name(self, module: str, name: str) -> None:
        if name not in self._names.get(module, ()):
            raise ValueError(
                f"it asks for {module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}, which plain values do not need"
            )
        self._push(Name(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(text_of(module), text_of(name))

    def _call(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise TypeError
        self._push(self._calls[name.rpartition(".")[2]](*arguments))

    def _build(self) -> None:
        state, value = self._stack.pop(), self._stack[-1]
        if isinstance(value, Type):
            _, value.order, *structure = state
            value.order = text_of(value.order)
            if value.order not in ("<", ">", "|", "=") or any(part is not None for part in structure[:3]):
                raise ValueError("it holds an array of several numbers in one, or of a byte order that there is not")
        elif isinstance(value, Array) and value.content is None:
            _, shape, kind, fortran, content = state
            value.content, value.shape = array_of(shape, kind, "F" if fortran else "C", content), shape
        else:
            raise TypeError

    def _append(self, values: list) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError
        self._stack[-1].extend(values)

    def _set(self, pairs: list) -> None:
        found = self._stack[-1]
        if not isinstance(found, dict) or len(pairs) % 2:
            raise TypeError
        for key, value in zip(pairs[::2], pairs[1::2]):
            key = text_of(key) if isinstance(key, Raw) else key
            if type(key) not in (str, int):
                raise ValueError(f"it has a {type(key).__name__} as a key, where text or a whole number was expected")
            if key in found:
                raise ValueError(f"its key {str(key)[:40]!r} is there twice")
            found[key] = value

    def _refer(self) -> None:
        if self._outside is None:
            raise ValueError("it refers to something beside itself")
        self._push(self._outside(self._stack.pop()))

    def _tuple(self, size: int) -> None:
        if size > len(self._stack):
            raise IndexError
        found = tuple(self._stack[-size:])
        del self._stack[-size:]
        self._push(found)

    def _protocol(self) -> None:
        if (version := self._number("<B")) > 5:
            raise ValueError(f"it is of protocol {version}")

    def _frame(self) -> None:
        if self._number("<Q") > len(self.content) - self.place:
            raise EOFError("it ends within a frame")


def _of(code: str, is_text: bool = False) -> Callable[[Machine], None]:
    """Bytes after their number."""
    return lambda machine: machine._push(Raw(machine._take(machine._number(code)), is_text))


def _unicode(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(str(machine._take(machine._number(code)), "utf-8"))


def _numbered(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(machine._number(code))


def _constant(value: Any) -> Callable[[Machine], None]:
    return lambda machine: machine._push(value)


def _put(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._memo.__setitem__(machine._number(code), machine._stack[-1])


def _get(code: str) -> Callable[[Machine], None]:
    return lambda machine: machine._push(machine._memo[machine._number(code)])


_INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    code[0]: follow
    for code, follow in {
        b"\x80": Machine._protocol,
        b"\x95": Machine._frame,
        b"(": lambda machine: machine._marks.append(len(machine._stack)),
        b"N": _constant(None),
        b"\x88": _constant(True),
        b"\x89": _constant(False),
        b"J": _numbered("<i"),
        b"K": _numbered("<B"),
        b"M": _numbered("<H"),
        b"G": _numbered(">d"),
        b"\x8a": lambda machine: machine._push(
            int.from_bytes(machine._take(machine._number("<B")), "little", signed=True)
        ),
        b"U": _of("<B", is_text=True),
        b"T": _of("<I", is_text=True),
        b"C": _of("<B"),
        b"B": _of("<I"),
        b"\x8e": _of("<Q"),
        b"\x96": _of("<Q"),
        b"\x8c": _unicode("<B"),
        b"X": _unicode("<I"),
        b"\x8d": _unicode("<Q"),
        b"]": lambda machine: machine._push([]),
        b"}": lambda machine: machine._push({}),
        b")": _constant(()),
        b"\x85": lambda machine: machine._tuple(1),
        b"\x86": lambda machine: machine._tuple(2),
        b"\x87": lambda machine: machine._tuple(3),
        b"t": lambda machine: machine._push(tuple(machine._pop_to_mark())),
        b"a": lambda machine: machine._append([machine._stack.pop()]),
        b"e": lambda machine: machine._append(machine._pop_to_mark()),
        b"s": lambda machine: machine._set([machine._stack.pop(-2), machine._stack.pop()]),
        b"u": lambda machine: machine._set(machine._pop_to_mark()),
        b"c": lambda machine: machine._name(machine._line(), machine._line()),
        b"\x93": Machine._stack_global,
        b"R": Machine._call,
        b"b": Machine._build,
        b"q": _put("<B"),
        b"r": _put("<I"),
        b"\x94": lambda machine: machine._memo.__setitem__(len(machine._memo), machine._stack[-1]),
        b"h": _get("<B"),
        b"j": _get("<I"),
        b"Q": Machine._refer,
    }.items()
}
