"""A pickle's plain values and NumPy arrays, read as data: nothing that a file names is imported, nothing is called.

Python's own unpickler calls what a file names. This one follows the few instructions that plain values and arrays are
made of, knows by name what NumPy writes for an array, and refuses everything else.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_CODES = {byte: opcode for opcode in pickletools.opcodes for byte in [opcode.code.encode("latin-1")]}
_NUMBERS_AS_TEXT = ("INT", "LONG", "FLOAT", "PUT", "GET")
_LONGEST_NUMBER = 64


class ForeignClass(Exception):
    """A pickle that names something else than arrays are made of; its full name."""


@dataclass(frozen=True)
class _Named:
    """What a pickle refers to by name; it is never imported."""

    name: str


@dataclass(eq=False)
class PickledType:
    """A dtype.

    Attributes:
        code: such as ``f4``, of whatever type the file says.
        order: of the bytes; it comes after the code.
    """

    code: object
    order: str = "="


@dataclass(eq=False)
class PickledArray:
    """An array as the file describes it; nothing of that is checked yet.

    Attributes:
        shape, type: a tuple of sizes and a ``PickledType`` where the file is whole.
        fortran: whether the first axis changes fastest.
        content: its bytes, or a list of objects.
    """

    shape: object = ()
    type: object = None
    fortran: object = False
    content: object = b""


_ARRAY_MODULES = ("numpy.core.", "numpy._core.")
_ALLOWED = {
    "numpy.ndarray": "class",
    "numpy.dtype": "dtype",
    "collections.OrderedDict": "dict",
    "_codecs.encode": "encode",
    **{f"{module}multiarray._reconstruct": "array" for module in _ARRAY_MODULES},
    **{f"{module}numeric._frombuffer": "buffer" for module in _ARRAY_MODULES},
}


class PlainUnpickler:
    """Follows a pickle's instructions on plain values.

    Args:
        file: at the first instruction.
        budget: characters and entries that may be copied; whoever refers to one text again and again gets no more.
    """

    def __init__(self, file: io.BytesIO, budget: int) -> None:
        self.file, self.budget = file, budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> object:
        """What the pickle holds; ValueError and its like for a damaged one, ForeignClass for what is not data."""
        while True:
            opcode = _CODES.get(self.file.read(1))
            if opcode is None:
                raise ValueError(f"no instruction at byte {self.file.tell():,}")
            if opcode.name == "STOP":
                return self.stack.pop()
            self._follow(opcode.name, self._argument(opcode))

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.arg is None:
            return None
        if opcode.name == "STRING":  # of Python 2, where texts and bytes were one
            quoted = self.file.readline().strip()
            if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
                raise ValueError("a text without its quotes")
            return codecs.escape_decode(quoted[1:-1])[0]
        if opcode.name in _NUMBERS_AS_TEXT:
            place = self.file.tell()
            if len(self.file.readline(_LONGEST_NUMBER + 1)) > _LONGEST_NUMBER:
                raise ValueError(f"a number of more than {_LONGEST_NUMBER} characters")
            self.file.seek(place)
        value = opcode.arg.reader(self.file)
        return value.encode("latin-1") if opcode.name in ("BINSTRING", "SHORT_BINSTRING") else value

    def _follow(self, name: str, value: Any) -> None:
        stack = self.stack
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[value])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _COLLECTIONS:
            stack.append(_COLLECTIONS[name](self._marked()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._taken(int(name[-1]))))
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else self._taken(1)
            of_kind(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else self._taken(2)
            of_kind(stack[-1], dict).update(_pairs(items))
        elif name == "GLOBAL":
            stack.append(_named(value.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_named(".".join(self._taken(2))))
        elif name == "REDUCE":
            maker, arguments = self._taken(2)
            stack.append(self._made(of_kind(maker, _Named).name, of_kind(arguments, tuple)))
        elif name == "BUILD":
            _give_state(stack[-2], stack.pop())
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("POP", "POP_MARK"):
            self._marked() if name == "POP_MARK" else stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _LITERALS:
            stack.append(value)
        elif name not in ("PROTO", "FRAME"):
            raise ForeignClass(f"the instruction {name}")

    def _taken(self, count: int) -> list[Any]:
        """The last values, taken off."""
        if count > len(self.stack):
            raise ValueError("an instruction without its values")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _marked(self) -> list[Any]:
        """What lies above the last mark, taken off."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _made(self, name: str, arguments: tuple[Any, ...]) -> object:
        kind = _ALLOWED[name]
        if kind == "dtype":
            return PickledType(arguments[0])
        if kind == "array":
            return PickledArray()
        if kind == "buffer":
            content, dtype, shape, order = arguments
            return PickledArray(shape, dtype, order == "F", content)
        self.budget -= len(arguments[0]) if arguments else 0
        if self.budget < 0:
            raise ValueError("content that is repeated without end")
        if kind == "dict":
            return dict(arguments[0]) if arguments else {}
        if kind == "encode":
            return of_kind(arguments[0], str).encode("latin-1")
        raise ForeignClass(name)


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}

_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "DICT": lambda items: _pairs(items),
}

_LITERALS = frozenset(
    (
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    )
)


def _named(name: str) -> _Named:
    """A reference; ForeignClass for a name that arrays do not need."""
    if name not in _ALLOWED:
        raise ForeignClass(name)
    return _Named(name)


def of_kind(value: Any, kinds: type | tuple[type, ...]) -> Any:
    """The value; TypeError when it is none of these kinds."""
    if not isinstance(value, kinds):
        raise TypeError(f"{type(value).__name__} in an unexpected place")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _give_state(target: object, state: Any) -> None:
    if isinstance(target, PickledArray):
        _, target.shape, target.type, target.fortran, target.content = of_kind(state, tuple)
    elif isinstance(target, PickledType):
        target.order = as_text(of_kind(state, tuple)[1])
    else:
        raise ForeignClass(f"the state of {type(target).__name__}")


def as_text(value: object) -> str:
    """A name, which Python 2 writes as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
