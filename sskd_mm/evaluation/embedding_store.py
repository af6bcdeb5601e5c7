# Copyright (c) sskd_mm authors. All rights reserved.
import json
import os
import os.path as osp
from typing import Dict

import numpy as np
from numpy.lib.format import open_memmap


class EmbeddingStore:
    """Embeddings that are written to a file as they come.

    A run that was killed goes on with what is missing. Beside ``FILE.npy``
    (N x D, float32, which ``np.load`` reads) lie ``FILE.done.npy``, which
    rows are there, and ``FILE.json``, what they are of.

    Args:
        file (str): The ``.npy`` file, made if it is not there.
        count (int): Number of images N.
        dim (int): Width of an embedding D.
        key (dict[str, str]): What they depend on, as
            ``dict(checkpoint=<digest>, data=<digest>)``.

    Raises:
        ValueError: The file holds embeddings of something else; the message
            says in what it differs.

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
            self._rows = open_memmap(file, 'r+')
            self._done = open_memmap(done, 'r+')
        elif osp.exists(file):
            raise ValueError(
                f'{file!r} is there, but nothing says what it is of '
                f'({note!r} is missing). Remove it, or name another file.')
        else:
            os.makedirs(osp.dirname(osp.abspath(file)), exist_ok=True)
            part = f'{base}.part.npy'
            self._rows = open_memmap(part, 'w+', np.float32, (count, dim))
            self._done = open_memmap(done, 'w+', bool, (count, ))
            with open(note, 'w') as output:
                json.dump(key, output, indent=1)
            os.replace(part, file)  # last: with it all three are there

    def _check(self, note: str, key: dict) -> None:
        with open(note) as stored:
            stored = json.load(stored)
        differ = sorted(k for k in {*stored, *key}
                        if stored.get(k) != key.get(k))
        if differ:
            raise ValueError(
                f'{self.file!r} holds embeddings of something else: ' +
                ', '.join(f'{k} was {stored.get(k)}, now {key.get(k)}'
                          for k in differ) +
                '. Remove it, or name another file.')

    def missing(self) -> np.ndarray:
        """The rows that are yet to be written, shape (M, ), rising."""
        return np.flatnonzero(~self._done)

    def write(self, rows: np.ndarray, embeddings: np.ndarray) -> None:
        """Write some rows.

        Args:
            rows (np.ndarray): Which, shape (B, ).
            embeddings (np.ndarray): Shape (B, D).
        """
        self._rows[rows] = embeddings
        self._rows.flush()
        self._done[rows] = True  # only what is there for certain
        self._done.flush()

    def read(self) -> np.ndarray:
        """All embeddings, mapped from the file, shape (N, D).

        What is done to the array does not reach the file.

        Raises:
            RuntimeError: Some are missing.
        """
        missing = len(self.missing())
        if missing:
            raise RuntimeError(
                f'{missing} of {len(self._done)} embeddings of {self.file!r} '
                'are missing: the run that writes them has not finished.')
        return np.load(self.file, mmap_mode='c')
