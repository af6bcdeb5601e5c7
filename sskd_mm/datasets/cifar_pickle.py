# Copyright (c) sskd_mm authors. All rights reserved.
import io
import pickle
from typing import Any, Callable, Union

import numpy as np

from .check_opcodes import check_opcodes
from .plain_pickle import PLAIN_OPCODES

#: Plain data, dicts and floats.
_OPCODES = PLAIN_OPCODES | {
    'EMPTY_DICT', 'DICT', 'SETITEM', 'SETITEMS', 'FLOAT', 'BINFLOAT', 'STRING'
}


class CIFARFileError(ValueError):
    """A file is not what CIFAR's python version holds, or runs code."""


def read_cifar_pickle(path: str) -> Any:
    """Read a file of CIFAR's python version without running what is in it.

    A pickle may name any function of any module and call it. Here it gets
    dicts, lists, strings, numbers and arrays of uint8, and anything else is
    refused. Not even numpy's own functions are let near what a file says:
    arrays are put together here.

    Args:
        path (str): A batch such as ``data_batch_1``, or ``batches.meta``,
            as Python 2 or 3 and any release of numpy wrote it.

    Returns:
        Any: What the file holds, its arrays as ``np.ndarray`` where they are
        values of the outermost dict.

    Raises:
        FileNotFoundError: No such file.
        CIFARFileError: The file is cut off, no pickle, or holds more.

    Example:
        >>> read_cifar_pickle('cifar-10-batches-py/test_batch')['data'].shape
        (10000, 3072)
    """
    with open(path, 'rb') as file:
        data = file.read()
    try:
        check_opcodes(data, _OPCODES)
        content = _Unpickler(io.BytesIO(data), encoding='latin1').load()
    except Exception as error:
        # A broken or hostile pickle raises nearly anything.
        raise CIFARFileError(
            f'{path} was not read: {type(error).__name__}: '
            f'{error}') from error
    if isinstance(content, dict):
        content = {
            key: value.array if isinstance(value, _Array) else value
            for key, value in content.items()
        }
    return content


class _Array:
    """What a pickle fills in place of an ``np.ndarray``."""

    array = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, 'F' if fortran else 'C')

    def fill(self, data: Union[bytes, str], dtype: Any, shape: tuple,
             order: str) -> None:
        if isinstance(data, str):  # a string of Python 2
            data = data.encode('latin1')
        if not isinstance(dtype, _UInt8):
            raise pickle.UnpicklingError('an array that is not of uint8')
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order=order)


class _UInt8:
    """The only dtype that there is."""

    def __setstate__(self, state: tuple) -> None:
        """Byte order and the like say nothing about a single byte."""


class _Unpickler(pickle.Unpickler):
    # Bound methods, for a pickle may also set attributes of what it gets.

    def find_class(self, module: str, name: str) -> Union[Callable, str]:
        module = module.replace('numpy._core.', 'numpy.core.')
        found = {
            ('numpy', 'ndarray'): 'ndarray',  # only passed to _reconstruct
            ('numpy', 'dtype'): self._dtype,
            ('numpy.core.multiarray', '_reconstruct'): self._reconstruct,
            ('numpy.core.numeric', '_frombuffer'): self._from_buffer,
            ('_codecs', 'encode'): self._encode,
        }.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}, which no such file needs and '
                'which may run code')
        return found

    def _reconstruct(self, *args) -> _Array:
        return _Array()

    def _from_buffer(self, data, dtype, shape, order) -> _Array:
        array = _Array()
        array.fill(data, dtype, shape, order)
        return array

    def _dtype(self, name: str, *args) -> _UInt8:
        if name != 'u1':
            raise pickle.UnpicklingError(
                f'an array of {name!r}, not of uint8 (u1)')
        return _UInt8()

    def _encode(self, text: str, encoding: str) -> bytes:
        # How Python 3 writes bytes in protocol 2.
        if encoding != 'latin1':
            raise pickle.UnpicklingError(f'bytes in {encoding!r}')
        return text.encode('latin1')
