# Copyright (c) sskd_mm authors. All rights reserved.
import codecs
import os
import os.path as osp
import struct
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

_MAGIC = 0xced7230a
_WHOLE, _BEGIN, _MIDDLE, _END = range(4)


class RecordFileError(ValueError):
    """A record or an index is damaged."""


class Record(NamedTuple):
    """One record.

    Attributes:
        label (tuple[float]): Its label or labels.
        data (bytes): Its content, such as a JPEG file; empty in a record that
            describes others.
    """

    label: Tuple[float, ...]
    data: bytes


class RecordFile:
    """Random access to an MXNet ``.rec`` file by its ``.idx``.

    The format is RecordIO (a magic number; 3 bits that distinguish whole
    records from parts; 29 bits of length; the data, padded to 4 bytes; a
    record is split where its data contains the magic number) with the header
    of MXNet's ``recordio.pack`` (flag, label, two ids; a positive flag is the
    number of labels that follow). Nothing in it is run or unpickled, and
    MXNet is not needed.

    Several processes can read: each opens the file itself, whether forked or
    given the object by pickling.

    Args:
        path (str): The ``.rec`` file. Its index is next to it, with the
            extension ``.idx``.

    Raises:
        FileNotFoundError: The file or its index does not exist.
        RecordFileError: The index is malformed.

    Attributes:
        keys (np.ndarray): The records' keys, ascending, (N, ).

    Example:
        >>> file = RecordFile('data/ms1mv3/train.rec')
        >>> file.read(1).label
        (0.0,)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        index = osp.splitext(path)[0] + '.idx'
        for file in (path, index):
            if not osp.isfile(file):
                raise FileNotFoundError(
                    f'{file!r} does not exist. An insightface data set needs '
                    'two files: train.rec with the images and train.idx with '
                    'their offsets.')
        self.keys, self._offsets = _read_index(index)
        self._size = osp.getsize(path)
        self._file: Optional[int] = None
        self._process: Optional[int] = None

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, key: int) -> Record:
        """Read one record.

        Args:
            key (int): The record's key in the index.

        Returns:
            Record: Its label and data.

        Raises:
            KeyError: The index has no such key.
            RecordFileError: The record is truncated or damaged; the message
                names it, its file and its offset.
        """
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            raise KeyError(f'The index of {self.path!r} has no key {key}.')
        offset = int(self._offsets[place])
        data = self._read_parts(key, offset)
        if len(data) < 24:
            raise self._error(key, offset, f'has {len(data)} bytes, too few '
                              'for its header')
        flag, label = struct.unpack_from('<If', data)
        if flag == 0:
            return Record((label, ), data[24:])
        if len(data) < 24 + 4 * flag:
            raise self._error(
                key, offset, f'has {len(data)} bytes, too few for its {flag} '
                'labels')
        labels = struct.unpack_from(f'<{flag}f', data, 24)
        return Record(labels, data[24 + 4 * flag:])

    def _read_parts(self, key: int, begin: int) -> bytes:
        """Read a whole record, without its frame."""
        parts: List[bytes] = []
        offset = begin
        while True:
            magic, word = struct.unpack('<II', self._get(key, offset, 0, 8))
            if magic != _MAGIC:
                raise self._error(
                    key, offset, f'begins with {magic:#010x} instead of '
                    f'{_MAGIC:#010x}: it is damaged, or the index belongs to '
                    'another file')
            kind, length = word >> 29, word & (1 << 29) - 1
            expected = (_MIDDLE, _END) if parts else (_WHOLE, _BEGIN)
            if kind not in expected:
                raise self._error(
                    key, offset, f'has a part of kind {kind}, expected one of '
                    f'{expected}')
            parts.append(self._get(key, offset, 8, length))
            if kind in (_WHOLE, _END):
                # It was split at each magic number in the data.
                return struct.pack('<I', _MAGIC).join(parts)
            offset += 8 + (length + 3) // 4 * 4

    def _get(self, key: int, offset: int, skip: int, length: int) -> bytes:
        """Read some bytes of the frame at this offset."""
        end = offset + skip + length
        if offset < 0 or end > self._size:
            raise self._error(
                key, offset, f'would end at byte {end}, but the file has '
                f'{self._size}: it is truncated or damaged. Copy or download '
                'it again')
        if self._process != os.getpid():
            self._file = os.open(self.path, os.O_RDONLY)
            self._process = os.getpid()
        data = os.pread(self._file, length, offset + skip)
        if len(data) < length:
            raise self._error(key, offset, 'cannot be read completely: the '
                              'file has become shorter')
        return data

    def _error(self, key: int, offset: int, what: str) -> RecordFileError:
        return RecordFileError(
            f'{self.path!r}: record {key} at byte {offset} {what}.')

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_file': None, '_process': None}

    def __del__(self) -> None:
        # A forked process that has not read does not own the handle.
        if getattr(self, '_process', None) == os.getpid():
            os.close(self._file)


def _read_index(path: str) -> Tuple[np.ndarray, np.ndarray]:
    """Read lines of key and offset, and sort them by key."""
    with open(path, 'rb') as file:
        text = file.read()
    # Written by editors on Windows.
    numbers = (text[3:] if text.startswith(codecs.BOM_UTF8) else text).split()
    try:
        numbers = np.array(numbers, dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError) as error:
        raise RecordFileError(
            f'{path!r} is not an index: each line must have a key and an '
            f'offset, two integers ({error}).') from error
    if not len(numbers):
        raise RecordFileError(f'{path!r} is empty: it lists no record.')
    keys, offsets = numbers[np.argsort(numbers[:, 0], kind='stable')].T
    twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        raise RecordFileError(f'{path!r} has the key {twice[0]} twice.')
    return keys, offsets
