# Copyright (c) sskd_mm authors. All rights reserved.
import io
import math
import pickle
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from .check_opcodes import check_opcodes

#: Opcodes of lists, tuples, bytes, numbers and arrays. No dicts, sets, class
#: instances, persistent ids or extension codes.
PLAIN_OPCODES = frozenset('''
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1
    BININT2 LONG LONG1 LONG4 BINSTRING SHORT_BINSTRING BINBYTES
    SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
    TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL
    STACK_GLOBAL REDUCE BUILD'''.split())


class PlainPickleError(ValueError):
    """A pickle is truncated, damaged, or holds more than plain data."""


def load_plain_pickle(data: bytes) -> Any:
    """Unpickle lists, tuples, bytes, bools, integers and numpy arrays of them.

    Nothing that a file names is imported or called: stand-ins replace numpy's
    functions and build arrays of bools, integers, bytes and objects (bytes or
    arrays of them) from validated data. Memory is proportional to the file.

    Args:
        data (bytes): The whole pickle, written by Python 3, or by Python 2
            with any protocol except 0. Strings of Python 2 become bytes.

    Returns:
        Any: The content. Arrays are read-only.

    Raises:
        PlainPickleError: It is truncated, damaged, or holds anything else.
    """
    try:
        check_opcodes(data, PLAIN_OPCODES)
    except pickle.UnpicklingError as error:
        raise PlainPickleError(str(error)) from error
    try:
        loaded = _Unpickler(io.BytesIO(data), encoding='bytes').load()
        return _arrays(loaded, [len(data)])
    except PlainPickleError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise PlainPickleError(f'it is damaged: {error}') from error


class _DType:
    """Stand-in for ``numpy.dtype``."""

    def __init__(self, code: Any, *args: Any) -> None:
        code = code.decode('ascii') if isinstance(code, bytes) else code
        # Python 2 wrote objects as 'O8'; 'V' is bytes with trailing zeros.
        if not (isinstance(code, str) and code[:1] in 'biuSVO'
                and code[1:].isdigit() and len(code) < 12):
            raise PlainPickleError(
                f'it holds an array of dtype {code!r}, which is neither bool '
                'nor integer nor bytes')
        self.kind = code[0]
        self.code = code

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        order = state[1]
        order = order.decode('ascii') if isinstance(order, bytes) else order
        if order not in ('<', '>', '|', '=') or any(
                x is not None for x in state[2:5]):
            raise PlainPickleError('it holds an array of records, which is '
                                   'not plain data')
        self.code = order + self.code

    def numpy(self) -> np.dtype:
        """Return the real dtype."""
        dtype = np.dtype(self.code)
        if dtype.kind not in 'biuSV' or not dtype.itemsize:
            raise PlainPickleError(f'it holds an array of dtype {self.code!r}')
        return dtype


class _Array:
    """Stand-in for ``numpy.ndarray``."""

    def __init__(self) -> None:
        self.value: Any = None

    def __setstate__(self, state: Tuple[Any, ...]) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.value = _build(data, dtype, shape, 'F' if fortran else 'C')


def _build(data: Any, dtype: _DType, shape: Tuple[int, ...],
           order: str = 'C') -> Any:
    if not (type(dtype) is _DType and type(shape) is tuple
            and all(type(n) is int and n >= 0 for n in shape)):
        raise PlainPickleError('it holds a damaged array')
    if dtype.kind == 'O':
        if type(data) is not list or len(shape) != 1 or len(data) != shape[0]:
            raise PlainPickleError('it holds a damaged array of objects')
        return data
    dtype = dtype.numpy()
    if type(data) not in (bytes, bytearray) or math.prod(
            shape) * dtype.itemsize != len(data):
        raise PlainPickleError(f'it holds an array of shape {shape} whose '
                               'data has another length')
    # Copied to bytes: the array of a bytearray would be writable.
    return np.frombuffer(
        bytes(data), dtype).reshape(
            shape, order='F' if order == 'F' else 'C')


def _reconstruct(*args: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: str) -> _Array:
    array = _Array()
    array.value = _build(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: bytes) -> Any:
    return _build(data, dtype, ())[()].item()


def _encode(text: str, encoding: Any = 'latin1') -> bytes:
    # Python 3 writes bytes this way in protocols without them.
    return text.encode('latin1')


def _bytes() -> bytes:
    return b''


_STAND_INS: Dict[Tuple[str, str], Callable] = {
    ('numpy', 'dtype'): _DType,
    ('numpy', 'ndarray'): _Array,
    ('_codecs', 'encode'): _encode,
    ('builtins', 'bytes'): _bytes,
    **{(f'numpy.{core}.multiarray', name): stand_in
       for core in ('core', '_core')
       for name, stand_in in (('_reconstruct', _reconstruct),
                              ('scalar', _scalar))},
    **{(f'numpy.{core}.numeric', '_frombuffer'): _frombuffer
       for core in ('core', '_core')},
}


class _Unpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str) -> Callable:
        """Return the stand-in for a name in the file."""
        # Python 2's name; no other name from it is allowed anyway.
        module = 'builtins' if module == '__builtin__' else module
        if (module, name) not in _STAND_INS:
            raise PlainPickleError(f'it uses {module}.{name}, which is not '
                                   'plain data')
        return _STAND_INS[module, name]


def _arrays(value: Any, room: List[int], depth: int = 0) -> Any:
    """Replace stand-ins by arrays and refuse everything else."""
    # An item takes at least a byte, unless lists repeat lists to blow up.
    room[0] -= 1
    if room[0] < 0:
        raise PlainPickleError('it repeats its own parts')
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, (bytes, bool, int, np.ndarray)):
        return value
    if isinstance(value, (list, tuple)) and depth < 3:
        return type(value)([_arrays(item, room, depth + 1) for item in value])
    kind = type(value).__name__.lstrip('_')
    raise PlainPickleError(
        f'it holds a {kind} where only lists, tuples, bytes, bools, integers '
        'and arrays of them are allowed' +
        (', nested too deeply' if depth >= 3 else ''))
