"""A pickle as data: its operations are followed on a stack of our own, and nothing that it names is ever called.

A call that a pickle asks for becomes a `PickledCall`, which says what was named and with what. Names outside of a short
list are refused, so that a file with anything but weights and their modules in it is refused as a whole.
"""

import math
import pickletools
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from difgen_cli.pretrained.files import PretrainedError, shown, tried

PICKLE_BYTES = 64 << 20  # of the pickle in an archive of torch; that of a large network has a megabyte
OPERATIONS = 2_000_000  # of a pickle; that of a network has some ten thousand
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # a storage that torch saved outside of an archive begins with it
DICTS = frozenset({"collections.OrderedDict", "dnnlib.util.EasyDict"})
PERSISTENT, TENSOR = "torch_utils.persistence._reconstruct_persistent_obj", "torch._utils._rebuild_tensor_v2"
PARAMETER, MODULES = "torch._utils._rebuild_parameter", "torch.nn.modules.container.ModuleDict"
STORAGE = "torch.storage._load_from_bytes"
OF_NUMPY = ("ndarray", "dtype", *(f"{c}.multiarray.{f}" for c in ("core", "_core") for f in ("_reconstruct", "scalar")))
ARRAYS = frozenset(f"numpy.{name}" for name in OF_NUMPY)  # of the encoder in a snapshot of EDM2, which is not read
ALLOWED = DICTS | ARRAYS | {PERSISTENT, STORAGE, TENSOR, PARAMETER, MODULES, "builtins.set"}
TYPES = {
    "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16, "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
}  # fmt: skip
# What torch saves of tensors in containers: calling these makes nothing of a size that the file does not have.
SAVED = frozenset(TYPES) | {
    "collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.set", "builtins.dict",
    "builtins.list", "torch.Size", "torch.device", TENSOR, PARAMETER, *(str(dtype) for dtype in TYPES.values()),
}  # fmt: skip
BROKEN = (ValueError, LookupError, TypeError, AttributeError, EOFError, ArithmeticError)


@dataclass(frozen=True)
class Global:
    """A name that a pickle would have imported: `module.name`."""

    name: str


@dataclass(eq=False)
class PickledCall:
    """What a pickle would have called with `arguments`, and the state that it would have given to the result."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Mark:
    """Where a group of values begins on the stack."""


def read(path: Path) -> Any:
    """What a pickle file holds: plain values, and a `PickledCall` for each thing that is none.

    Raises PretrainedError for a name outside of the list, and for a broken file.
    """

    def parse() -> Any:
        # Mapped: a length in the file that is longer than the rest of it takes no memory.
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return _Machine(path, ALLOWED).run(content)

    return tried(path, parse, BROKEN)


def check_saved(path: Path) -> None:
    """PretrainedError where what torch saved names anything but tensors and plain containers.

    torch itself calls more than that even where it loads weights only, such as arrays of any length.
    """

    def archive() -> None:
        with zipfile.ZipFile(path) as whole:
            entries = [entry for entry in whole.infolist() if entry.filename.endswith("data.pkl")]
            if len(entries) != 1 or entries[0].file_size > PICKLE_BYTES:
                raise ValueError("it has no pickle of tensors in it, or a large one")
            _Machine(path, SAVED, persistent=True).run(BytesIO(whole.read(entries[0])))

    def legacy() -> None:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            machine = _Machine(path, SAVED, persistent=True)
            if machine.run(content) != LEGACY_MAGIC:
                raise ValueError("it is no file of torch")
            for _ in range(4):  # the version, the machine that saved it, the tensors, the keys of their storages
                machine.run(content)

    tried(path, archive if zipfile.is_zipfile(path) else legacy, (*BROKEN, zipfile.BadZipFile))


class Tensors:
    """The tensors that the calls of one pickle describe, as views of their storages, each of which is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storages: dict[int, Tensor] = {}

    def of(self, call: Any) -> Tensor:
        """The tensor or parameter of a call. Raises PretrainedError where it does not fit its numbers."""
        return tried(self.path, lambda: self._tensor(call), (*BROKEN, RuntimeError))

    def _tensor(self, call: Any) -> Tensor:
        if isinstance(call, PickledCall) and call.name == PARAMETER:
            call = call.arguments[0]
        if not isinstance(call, PickledCall) or call.name != TENSOR:
            raise ValueError("a weight is no tensor")
        storage, offset, size, stride = call.arguments[:4]
        if id(storage) not in self.storages:
            self.storages[id(storage)] = _storage(storage, self.path)
        numbers = self.storages[id(storage)]
        for whole in (offset, *size, *stride):
            if type(whole) is not int or whole < 0:
                raise ValueError(f"a tensor has the size {shown(size)} and the stride {shown(stride)}")
        reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
        if math.prod(size) > len(numbers) or (math.prod(size) and reach > len(numbers)):
            raise ValueError(f"a tensor of size {tuple(size)} does not fit the {len(numbers)} numbers of its storage")
        return torch.as_strided(numbers, tuple(size), tuple(stride), offset)


def _storage(call: Any, path: Path) -> Tensor:
    """The numbers of a storage that torch saved to bytes, outside of an archive: (n,)."""
    if not isinstance(call, PickledCall) or call.name != STORAGE or not isinstance(call.arguments[0], bytes):
        raise ValueError("a tensor has no storage of its own")
    stream, plain = BytesIO(call.arguments[0]), _Machine(path, frozenset())
    if plain.run(stream) != LEGACY_MAGIC:
        raise ValueError("the bytes of a storage are not those that torch saves")
    plain.run(stream)  # the version of this format
    plain.run(stream)  # the machine that saved it
    described = _Machine(path, frozenset(TYPES), persistent=True).run(stream)
    keys = plain.run(stream)
    if not isinstance(described, PickledCall) or described.arguments[0][0] != "storage" or len(keys) != 1:
        raise ValueError("the bytes of a storage hold something else")
    dtype, count = TYPES[described.arguments[0][1].name], described.arguments[0][4]
    written, start = int.from_bytes(stream.read(8), "little"), stream.tell()
    nbytes = len(call.arguments[0]) - start
    if written != count or nbytes != count * dtype.itemsize:
        raise ValueError(f"a storage says that it has {count} numbers, and has {nbytes} bytes")
    # A view of the pickle's own bytes, which nobody writes to: a large file would not fit in memory twice.
    return torch.frombuffer(call.arguments[0], dtype=dtype, offset=start) if count else torch.empty(0, dtype=dtype)


class _Machine:
    """The stack machine of one pickle."""

    def __init__(self, path: Path, allowed: frozenset[str], *, persistent: bool = False) -> None:
        self.path, self.allowed, self.persistent = path, allowed, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: BytesIO | mmap) -> Any:
        """Follow one pickle to its end."""
        self.stack, self.memo = [], {}
        for count, (operation, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", stream))):
            if count >= OPERATIONS:
                raise PretrainedError(f"{self.path}: it has more operations than any network: take another file")
            self._follow(operation.name, argument)
        (value,) = self.stack
        return value

    def _follow(self, name: str, argument: Any) -> None:
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in VALUES:
            self.stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in STEPS:
            STEPS[name](self)
        elif name == "GLOBAL":
            self._named(*argument.split(" ", 1))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise self._refusal(f"would make an object by {name}")

    def group(self) -> list[Any]:
        """What lies above the last mark, which goes with it."""
        at = len(self.stack) - 1
        while not isinstance(self.stack[at], Mark):
            at -= 1
            if at < 0:
                raise ValueError("a group without a beginning")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def taken(self, count: int) -> tuple[Any, ...]:
        """The last values of the stack, which they leave."""
        if len(self.stack) < count:
            raise ValueError("its stack is too short")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return values

    def _named(self, module: Any, name: Any) -> None:
        whole = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if whole not in self.allowed:
            raise self._refusal(f"names {shown(whole)}")
        self.stack.append(Global(whole))

    def _refusal(self, what: str) -> PretrainedError:
        remedy = "nothing of it was run; take a file of weights, such as safetensors"
        return PretrainedError(f"{self.path}: the pickle {what}, which weights do not need: {remedy}")

    def global_of_stack(self) -> None:
        self._named(*self.taken(2))

    def call(self) -> None:
        function, arguments = self.taken(2)
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("it calls what has no name")
        if function.name in DICTS:
            pairs = [pair for argument in arguments for pair in argument]
            self.stack.append({})
            self.items([part for key, value in pairs for part in (key, value)])
        elif function.name == "builtins.set":
            self.stack.append(set(_keys(*arguments)) if arguments else set())
        else:
            self.stack.append(PickledCall(function.name, arguments))

    def build(self) -> None:
        (state,) = self.taken(1)
        if isinstance(self.stack[-1], PickledCall):
            self.stack[-1].state = state
        elif not isinstance(self.stack[-1], dict):  # of a dictionary only attributes, such as a version
            raise ValueError("it gives a state to a plain value")

    def items(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or len(values) % 2:
            raise ValueError("it sets items of what is no dictionary")
        self.stack[-1].update(zip(_keys(values[::2]), values[1::2], strict=True))

    def append(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif isinstance(self.stack[-1], set):
            self.stack[-1].update(_keys(values))
        else:
            raise ValueError("it appends to what is no list")

    def refer(self) -> None:
        if not self.persistent:
            raise ValueError("it refers to something outside of itself")
        self.stack.append(PickledCall("persistent", self.taken(1)))


def _keys(values: Iterable[Any]) -> list[Any]:
    """Keys of a dictionary, or items of a set: plain values alone. The hash of nested ones may take for ever."""
    keys = list(values)
    if not all(key is None or isinstance(key, str | bytes | int | float) for key in keys):
        raise ValueError("it has a key that is no plain value")
    return keys


CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": Mark()}
VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
})  # fmt: skip
STEPS: Mapping[str, Callable[[_Machine], Any]] = {
    "POP": lambda m: m.taken(1),
    "POP_MARK": lambda m: m.group(),
    "DUP": lambda m: m.stack.append(m.stack[-1]),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "EMPTY_DICT": lambda m: m.stack.append({}),
    "EMPTY_SET": lambda m: m.stack.append(set()),
    "LIST": lambda m: m.stack.append(m.group()),
    "TUPLE": lambda m: m.stack.append(tuple(m.group())),
    "FROZENSET": lambda m: m.stack.append(frozenset(_keys(m.group()))),
    "TUPLE1": lambda m: m.stack.append(m.taken(1)),
    "TUPLE2": lambda m: m.stack.append(m.taken(2)),
    "TUPLE3": lambda m: m.stack.append(m.taken(3)),
    "APPEND": lambda m: m.append(list(m.taken(1))),
    "APPENDS": lambda m: m.append(m.group()),
    "ADDITEMS": lambda m: m.append(m.group()),
    "SETITEM": lambda m: m.items(list(m.taken(2))),
    "SETITEMS": lambda m: m.items(m.group()),
    "STACK_GLOBAL": _Machine.global_of_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}
