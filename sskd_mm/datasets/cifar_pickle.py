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
    """A file is not in CIFAR's python version, or would run code."""


def read_cifar_pickle(path: str) -> Any:
    """Read a file of CIFAR's python version without running code in it.

    A pickle can call any function of any module. This reader allows dicts,
    lists, strings, numbers and uint8 arrays, and refuses anything else. It
    builds the arrays itself, so that no numpy function is called on behalf of
    the file.

    Args:
        path (str): A batch such as ``data_batch_1``, or ``batches.meta``,
            written by Python 2 or 3 and any release of numpy.

    Returns:
        Any: The content of the file; arrays among the values of the outermost
        dict are ``np.ndarray``.

    Raises:
        FileNotFoundError: No such file.
        CIFARFileError: The file is truncated, not a pickle, or holds
            something else.

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
        # A damaged or malicious pickle can raise almost anything.
        raise CIFARFileError(
            f'{path} cannot be read: {type(error).__name__}: '
            f'{error}') from error
    if isinstance(content, dict):
        content = {
            key: value.array if isinstance(value, _Array) else value
            for key, value in content.items()
        }
    return content


class _Array:
    """Stand-in for ``np.ndarray``."""

    array = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, 'F' if fortran else 'C')

    def fill(self, data: Union[bytes, str], dtype: Any, shape: tuple,
             order: str) -> None:
        if isinstance(data, str):  # a string of Python 2
            data = data.encode('latin1')
        if not isinstance(dtype, _UInt8):
            raise pickle.UnpicklingError('an array is not uint8')
        self.array = np.frombuffer(data, np.uint8).reshape(shape, order=order)


class _UInt8:
    """Stand-in for the only allowed dtype."""

    def __setstate__(self, state: tuple) -> None:
        """Ignore byte order and the like; a single byte has none."""


class _Unpickler(pickle.Unpickler):
    # Bound methods, because a pickle can set attributes of what it gets.

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
                f'it uses {module}.{name}, which CIFAR files do not need and '
                'which could run code')
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
                f'an array has dtype {name!r}, not uint8 (u1)')
        return _UInt8()

    def _encode(self, text: str, encoding: str) -> bytes:
        # Python 3 writes bytes this way in protocol 2.
        if encoding != 'latin1':
            raise pickle.UnpicklingError(f'bytes in {encoding!r}')
        return text.encode('latin1')
