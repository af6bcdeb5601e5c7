# Copyright (c) sskd_mm authors. All rights reserved.
import json
import os
import os.path as osp
from typing import Dict, Tuple

import numpy as np
from numpy.lib.format import open_memmap


class EmbeddingStore:
    """Writes embeddings to a file as they are computed.

    After an interruption, a new run computes only the missing ones. Next to
    ``FILE.npy`` (N x D, float32, readable by ``np.load``) are
    ``FILE.done.npy``, the rows already written, and ``FILE.json``, what they
    were computed from.

    Args:
        file (str): The ``.npy`` file, created if it does not exist.
        count (int): Number of images N.
        dim (int): Width of an embedding D.
        key (dict[str, str]): What the embeddings depend on, e.g.
            ``dict(checkpoint=<digest>, data=<digest>)``.

    Raises:
        ValueError: The file holds embeddings of something else, and the
            message says what differs; or one of the three files is damaged,
            such as a truncated copy.

    Example:
        >>> store = EmbeddingStore('lfw.npy', 12000, 512, dict(checkpoint=...))
        >>> for rows in np.array_split(store.missing(), 100):
        ...     store.write(rows, network(images[rows]))
        >>> embeddings = store.read()
    """

    def __init__(self, file: str, count: int, dim: int,
                 key: Dict[str, str]) -> None:
        if not file.endswith('.npy'):
            raise ValueError(f'{file!r} must end in .npy.')
        base = file[:-len('.npy')]
        self.file = file
        key = dict(key, count=count, dim=dim)
        done = f'{base}.done.npy'
        note = f'{base}.json'
        if osp.isfile(note) and osp.isfile(file):
            self._check(note, key)
            self._rows = _map(file, (count, dim), np.float32)
            self._done = _map(done, (count, ), bool)
        elif osp.exists(file):
            raise ValueError(
                f'{file!r} exists, but {note!r}, which says what it was '
                'computed from, is missing. Remove it, or name another file.')
        else:
            os.makedirs(osp.dirname(osp.abspath(file)), exist_ok=True)
            part = f'{base}.part.npy'
            self._rows = open_memmap(part, 'w+', np.float32, (count, dim))
            self._done = open_memmap(done, 'w+', bool, (count, ))
            with open(note, 'w', encoding='utf-8') as output:
                json.dump(key, output, indent=1)
            os.replace(part, file)  # last: if it exists, so do all three

    def _check(self, note: str, key: dict) -> None:
        try:
            with open(note, encoding='utf-8') as file:
                stored = json.load(file)
            if not isinstance(stored, dict):
                raise ValueError(f'it holds a {type(stored).__name__}')
        except ValueError as error:
            raise ValueError(f'{note!r} is damaged ({error}). Remove '
                             f'{self.file!r}, whose embeddings it describes, '
                             'or copy both again.') from error
        differ = sorted(k for k in {*stored, *key}
                        if stored.get(k) != key.get(k))
        if differ:
            raise ValueError(
                f'{self.file!r} holds embeddings of something else: ' +
                ', '.join(f'{k} was {stored.get(k)}, now {key.get(k)}'
                          for k in differ) +
                '. Remove it, or name another file.')

    def missing(self) -> np.ndarray:
        """Get the rows not yet written, shape (M, ), ascending."""
        return np.flatnonzero(~self._done)

    def write(self, rows: np.ndarray, embeddings: np.ndarray) -> None:
        """Write some rows.

        Args:
            rows (np.ndarray): Indices of the rows, shape (B, ).
            embeddings (np.ndarray): Shape (B, D).
        """
        self._rows[rows] = embeddings
        self._rows.flush()
        self._done[rows] = True  # only after the rows are on disk
        self._done.flush()

    def read(self) -> np.ndarray:
        """Map all embeddings from the file, shape (N, D).

        Changes to the array are not written to the file.

        Raises:
            RuntimeError: Some are missing.
        """
        missing = len(self.missing())
        if missing:
            raise RuntimeError(
                f'{missing} of {len(self._done)} embeddings of {self.file!r} '
                'are missing: the run that writes them has not finished.')
        return np.load(self.file, mmap_mode='c')


def _map(file: str, shape: Tuple[int, ...], dtype: type) -> np.ndarray:
    """Map an existing file in order to continue it."""
    try:
        # First for reading: for writing, numpy would pad a truncated file
        # with zeros.
        found = np.load(file, mmap_mode='r', allow_pickle=False)
        if found.shape != shape or found.dtype != dtype:
            raise ValueError(f'it holds {found.dtype} of shape {found.shape} '
                             f'instead of {np.dtype(dtype)} of {shape}')
    except Exception as error:  # a damaged header can fail in any way
        raise ValueError(
            f'{file!r} is missing, truncated or damaged ({error}). Copy the '
            'embeddings again, or remove all of their files to compute them '
            'anew.') from error
    return open_memmap(file, 'r+')
