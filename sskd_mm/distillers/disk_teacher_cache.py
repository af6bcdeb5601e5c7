# Copyright (c) sskd_mm authors. All rights reserved.
import json
import math
import uuid
import zlib
from pathlib import Path
from typing import Any, Dict, Hashable, List, NamedTuple, Optional, Set

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils._pytree import (tree_flatten, tree_unflatten, treespec_dumps,
                                 treespec_loads)

from .teacher_cache import TeacherCache

#: Where a tensor begins in a file, so that it can be viewed in its dtype.
_ALIGNMENT = 64


class DiskTeacherCache(TeacherCache):
    """Teachers' features of batches that come again, in files that later
    runs read, too.

    The files of a process are a ``.bin``, which is appended to and mapped
    into memory, and a ``.jsonl`` with a line a batch. A line is written after
    its batch and has the batch's checksum, so what a killed run has written
    is read as far as it is whole; what is cut off or spoilt is computed anew.
    Each process writes to files of its own, so runs may share a folder.

    A batch is known by its :class:`BatchIdentity`: should its images have
    changed under their names, the teachers compute again.

    A disk that is full, or fails, ends the writing with a warning; what is
    not there is computed in each epoch.

    Args:
        folder (str or Path): Of all that has the same teachers, data and
            settings; it need not be there yet.
        rank (int): Of the process.
        limit (int): Bytes that this process may write.

    Example:
        >>> cache = DiskTeacherCache('work_dirs/teacher_cache/0123', 0, 2**30)
        >>> features = cache.recall(
        >>>     (0, 0), identity, lambda: teacher(images), images.device)
    """

    def __init__(self, folder, rank: int, limit: int) -> None:
        super().__init__()
        self._folder = Path(folder)
        self._stem = f'rank{rank}_{uuid.uuid4().hex[:12]}'
        self._limit = limit
        self._written = 0
        self._batches: Dict[Hashable, _Batch] = {}
        self._keys: Set[Hashable] = set()
        self._maps: Dict[Path, np.ndarray] = {}
        self._checked: set = set()
        for index in sorted(self._folder.glob(f'rank{rank}_*.jsonl')):
            self._read_index(index)

    @property
    def location(self) -> str:
        """str: Where features are held."""
        return f'in {self._folder}'

    @property
    def num_bytes(self) -> int:
        """int: Size of what is held."""
        return sum(batch.size for batch in self._batches.values())

    def _find(self, key: Hashable, identity: int) -> Optional[Any]:
        batch = self._batches.get((key, identity))
        if batch is None:
            self.missed += key in self._keys
            return None
        return self._load(batch)

    def _keep(self, key: Hashable, identity: int, result: Any) -> None:
        if self._limit:
            self._store(key, identity, result)

    def clear(self) -> None:
        """Forget what is there; the files stay."""
        self._batches.clear()
        self._keys.clear()
        self._maps.clear()
        self._limit = 0

    def _add(self, key: Hashable, batch: '_Batch') -> None:
        self._batches[key, batch.identity] = batch
        self._keys.add(key)

    # --- Files ------------------------------------------------------------

    def _read_index(self, index: Path) -> None:
        data = index.with_suffix('.bin')
        for line in index.read_text(errors='replace').splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the writer was stopped in the midst of it
            key = tuple(entry.pop('key'))
            self._add(key, _Batch(data, **entry))

    def _load(self, batch: '_Batch') -> Optional[Any]:
        """What is kept of a batch; None if the file does not have it."""
        begin, end = batch.begin, batch.begin + batch.size
        data = self._maps.get(batch.file)
        if data is None or len(data) < end:
            try:
                # Copy on write: torch wants memory that it may write to.
                data = np.memmap(batch.file, np.uint8, 'c')
            except (OSError, ValueError):
                return None
            self._maps[batch.file] = data
        if len(data) < end:
            return None
        mark = batch.file, begin
        if mark not in self._checked:
            if zlib.crc32(data[begin:end]) != batch.checksum:
                return None
            self._checked.add(mark)
        values = iter(batch.values)
        leaves = []
        for tensor in batch.tensors:
            if tensor is None:
                leaves.append(next(values))
                continue
            offset, dtype, shape, order = tensor
            dtype = getattr(torch, dtype)
            size = math.prod(shape) * dtype.itemsize
            flat = torch.from_numpy(data[begin + offset:begin + offset + size])
            stored = flat.view(dtype).view([shape[i] for i in order])
            leaves.append(
                stored.permute(
                    sorted(range(len(order)), key=order.__getitem__)))
        return tree_unflatten(leaves, treespec_loads(batch.tree))

    def _store(self, key: Hashable, identity: int, result: Any) -> None:
        leaves, tree = tree_flatten(result)
        tensors: List[Optional[list]] = []
        parts: List[np.ndarray] = []
        size = 0
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                tensors.append(None)
                continue
            # Dimensions as they lie in memory, which channels_last changes.
            order = sorted(range(leaf.dim()), key=lambda i: -leaf.stride(i))
            bytes_ = leaf.detach().cpu().permute(order).reshape(-1).view(
                torch.uint8).numpy()
            tensors.append([
                size,
                str(leaf.dtype)[len('torch.'):],
                list(leaf.shape), order
            ])
            pad = -len(bytes_) % _ALIGNMENT
            parts += [x for x in (bytes_, np.zeros(pad, np.uint8)) if len(x)]
            size += len(bytes_) + pad
        if self._written + size > self._limit:
            self._stop(f'the limit of {self._limit / 2**30:.2f} GiB that '
                       'train_cfg.cache_limit leaves to this process is '
                       'reached')
            return
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        batch = _Batch(
            self._folder / f'{self._stem}.bin',
            identity=identity,
            begin=self._written,
            size=size,
            checksum=checksum,
            tensors=tensors,
            values=[x for x in leaves if not isinstance(x, Tensor)],
            tree=treespec_dumps(tree))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _append(batch.file, *parts)
            entry = dict(batch._asdict(), key=key)
            del entry['file']
            _append(batch.file.with_suffix('.jsonl'),
                    json.dumps(entry).encode() + b'\n')
        except OSError as error:
            self._stop(str(error))
            return
        self._written += size
        self._add(key, batch)

    def _stop(self, reason: str) -> None:
        self._limit = 0
        MMLogger.get_current_instance().warning(
            f'The cache of the teachers in {self._folder} takes no more: '
            f'{reason}. Training goes on, and nothing of it changes; what is '
            'not in the cache the teachers compute in each epoch. Make room '
            'for the next run, or choose fewer cached_passes or taps.')


class _Batch(NamedTuple):
    """What is known of a batch.

    Attributes:
        file (Path): Holds it.
        identity (int): Tells it from another batch of this key.
        begin (int): Where it begins in the file.
        size (int): Bytes.
        checksum (int): CRC-32 of these bytes.
        tensors (list): For each leaf its offset, dtype, shape and order of
            dimensions in memory; None if it is no tensor.
        values (list): The leaves that are none.
        tree (str): How they are put together.
    """

    file: Path
    identity: int
    begin: int
    size: int
    checksum: int
    tensors: list
    values: list
    tree: str


def _append(file: Path, *parts) -> None:
    with open(file, 'ab', buffering=0) as f:
        for part in parts:
            view = memoryview(part).cast('B')
            while len(view):
                view = view[f.write(view):]
