"""Linear SVCs as BoundaryDiffusion's released code pickles them: read, never unpickled.

A pickle is a program. Here its opcodes are walked with `pickletools` and every "call" only noted
down, so that there is nothing to misuse: a subclass of ``pickle.Unpickler`` would still build
objects, set their attributes, and reserve what memory the file asks for. Nothing is imported by a
name in the file, no NumPy array is made but from numbers whose count is checked, and memory stays
within a few times the file's size.
"""

import math
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hsl.errors import HslError
from hsl.files import read_bytes

_ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_BUFFER = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_SVC = ("sklearn.svm._classes.SVC", "sklearn.svm.classes.SVC")
#: What the pickle of an SVC names, whatever the protocol and the versions.
_KNOWN = {
    *_ARRAY,
    *_BUFFER,
    *_SVC,
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "builtins.object",
    "__builtin__.object",
    "builtins.bytes",
    "__builtin__.bytes",
}
_DATA = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK = object()


class OfficialBoundary(NamedTuple):
    """An SVM's hyperplane: <h, coef> + intercept is positive where the attribute is.

    ``coef [d]`` float64, not normalised, for features flattened from NCHW; ``intercept``.
    """

    coef: Tensor
    intercept: float


class _Name(str):
    """A global that a pickle names."""


class _Call:
    """What a pickle would call, with what, and the state it would give to the result."""

    def __init__(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no global")
        self.function, self.arguments, self.state = function, arguments, None


def read_official(path: str | Path) -> OfficialBoundary:
    """The hyperplane in a pickled, fitted ``sklearn.svm.SVC(kernel="linear")`` for two classes, of
    any pickle protocol.

    Raises:
        HslError: no such file; a damaged one; one that names anything but an SVC and its NumPy
            arrays; an SVC with another kernel, more classes, or numbers that are not finite.
    """
    path = Path(path)
    pickled = read_bytes(path, "a boundary saved by BoundaryDiffusion")
    try:
        state = _state_of_svc(_noted(pickled))
        if state.get("kernel") != "linear":
            raise ValueError("its kernel is not linear")
        fields = ("dual_coef_", "support_vectors_", "intercept_")
        alpha_y, vectors, intercept = (_array(state.get(name), name) for name in fields)
    except HslError as error:
        raise HslError(f"{path}: {error}") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise HslError(f"{path}: not the pickle of a linear SVC, or damaged ({reason})") from error
    if alpha_y.shape != (1, len(vectors)) or vectors.ndim != 2 or intercept.shape != (1,):
        raise HslError(f"{path}: not an SVC for two classes; fit one for each attribute")
    coef = alpha_y @ vectors
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()) or not coef.any():
        raise HslError(f"{path}: its hyperplane is zero or not finite; fit it anew")
    return OfficialBoundary(torch.from_numpy(coef[0]), float(intercept[0]))


def _noted(pickled: bytes) -> Any:
    """What a pickle describes: constants, tuples, lists and dictionaries, `_Name` and `_Call`.

    Raises:
        HslError: it names a global that is not `_KNOWN`.
        ValueError, LookupError, TypeError: it is no pickle, or damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        name = opcode.name
        if name == "STOP":
            (result,) = stack
            return result
        known = (
            _push(name, argument, stack)
            or _collect(name, stack)
            or _remember(name, argument, stack, memo)
            or _note_call(name, argument, stack)
        )
        if not known:
            raise ValueError(f"opcode {name}")
    raise ValueError("it has no end")


def _push(name: str, argument: Any, stack: list[Any]) -> bool:
    """Opcodes that put a value onto the stack, or say nothing; whether this is one of them."""
    match name:
        case "PROTO" | "FRAME":
            pass
        case name if name in _DATA:
            stack.append(argument)
        case name if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        case "EMPTY_DICT":
            stack.append({})
        case "EMPTY_LIST":
            stack.append([])
        case "MARK":
            stack.append(_MARK)
        case _:
            return False
    return True


def _collect(name: str, stack: list[Any]) -> bool:
    """Opcodes that gather values of the stack in a tuple, list or dictionary; whether this is one
    of them."""
    match name:
        case "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        case "LIST":
            stack.append(_since_mark(stack))
        case "DICT":
            stack.append(_set_items({}, _since_mark(stack)))
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            items = [stack.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(items)))
        case "APPEND" | "APPENDS":
            items = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            _of(list, stack[-1]).extend(items)
        case "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set_items(_of(dict, stack[-1]), [key, value])
        case "SETITEMS":
            items = _since_mark(stack)
            _set_items(_of(dict, stack[-1]), items)
        case _:
            return False
    return True


def _remember(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> bool:
    """Opcodes that keep a value for later, or bring it back; whether this is one of them."""
    match name:
        case "PUT" | "BINPUT" | "LONG_BINPUT":
            memo[argument] = stack[-1]
        case "MEMOIZE":
            memo[len(memo)] = stack[-1]
        case "GET" | "BINGET" | "LONG_BINGET":
            stack.append(memo[argument])
        case _:
            return False
    return True


def _note_call(name: str, argument: Any, stack: list[Any]) -> bool:
    """Opcodes that name a global, call one, or give an object its state: noted, not done; whether
    this is one of them."""
    match name:
        case "GLOBAL":
            stack.append(_name(*argument.split(" ", 1)))
        case "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_name(module, attribute))
        case "REDUCE" | "NEWOBJ":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_Call(function, arguments))
        case "BUILD":
            state = stack.pop()
            _of(_Call, stack[-1]).state = state
        case _:
            return False
    return True


def _since_mark(stack: list[Any]) -> list[Any]:
    """Takes what lies above the last mark off the stack, and the mark."""
    at = len(stack) - 1
    while stack[at] is not _MARK:
        at -= 1
        if at < 0:
            raise ValueError("a mark is missing")
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {kind.__name__.strip('_')} is missing")
    return value


def _set_items(target: dict[Any, Any], items: Sequence[Any]) -> dict[Any, Any]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_of(str, key)] = value
    return target


def _name(module: Any, attribute: Any) -> _Name:
    full = f"{_of(str, module)}.{_of(str, attribute)}"
    if full in _KNOWN:
        return _Name(full)
    if full.startswith("joblib."):
        raise HslError("saved by joblib; save it with pickle.dump where it can be trusted")
    raise HslError(f"names {full[:80]!a}, which a linear SVC does not need; refused")


def _state_of_svc(value: Any) -> dict[str, Any]:
    call = _of(_Call, value)
    # the class is what is called, or, in protocols 0 and 1, an argument
    classes = {call.function, *(a for a in call.arguments if isinstance(a, _Name))}
    if not classes & set(_SVC):
        raise ValueError(f"it holds a {call.function}")
    return _of(dict, call.state)


def _array(value: Any, field: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """A noted array of float32 or float64 as float64.

    Raises:
        ValueError: it is another thing, or its size does not match its data.
    """
    if isinstance(value, _Call) and value.function in _ARRAY:
        _, shape, dtype, fortran, data = _of(tuple, value.state)
    elif isinstance(value, _Call) and value.function in _BUFFER:
        data, dtype, shape, order = value.arguments
        fortran = order == "F"
    else:
        raise ValueError(f"{field} is missing, or no array")
    if isinstance(data, _Call) and data.function == "_codecs.encode":  # protocols 0 to 2
        data = _of(str, data.arguments[0]).encode("latin1")
    code, order = _of(_Call, dtype).arguments[0], _of(tuple, dtype.state)[1]
    if dtype.function != "numpy.dtype" or code not in ("f4", "f8") or order not in ("<", ">"):
        raise ValueError(f"{field} is not float32 or float64")
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"{field} has no data")
    if not all(type(n) is int and 0 <= n <= len(data) for n in _of(tuple, shape)):
        raise ValueError(f"{field} has no shape that its data could fill")
    if len(data) != math.prod(shape) * int(code[1]):
        raise ValueError(f"{field} lacks some of its data, or has too much")
    flat = np.frombuffer(data, np.dtype(order + code)).astype(np.float64)
    return flat.reshape(shape, order="F" if fortran else "C")
