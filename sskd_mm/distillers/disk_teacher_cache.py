# Copyright (c) sskd_mm authors. All rights reserved.
import io
import uuid
import zlib
from pathlib import Path
from typing import Any, Dict, Set

import torch
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .teacher_cache import Key, TeacherCache


class DiskTeacherCache(TeacherCache):
    """Teachers' features of recurring batches, in files that later runs
    reuse.

    Each batch has a file ``RANK-PASS-NUMBER-IDENTITY-CHECKSUM.pt``. It is
    renamed to that once it is complete, so a killed run leaves whole files,
    and several runs may share a folder. Damaged files are computed again.
    If the disk is full or fails, a warning is logged and nothing more is
    written.

    Args:
        folder (str or Path): Of these teachers, data and settings; created
            when the first batch is written.
        rank (int): Rank of the process, which reads its own files only.
        limit (int): Bytes that this process may write.

    Example:
        >>> cache = DiskTeacherCache('work_dirs/teacher_cache/0123', 0, 2**30)
        >>> features = cache.recall(
        >>>     (0, 0), identity, lambda: teacher(images), images.device)
    """

    def __init__(self, folder, rank: int, limit: int) -> None:
        super().__init__()
        self.location = f'in {folder}'
        self._folder = Path(folder)
        self._rank = rank
        self._limit = limit
        #: For each key the file of each identity.
        self._files: Dict[Key, Dict[int, Path]] = {}
        self._sizes: Dict[Path, int] = {}
        self._checked: Set[Path] = set()
        for file in self._folder.glob(f'{rank}-*.pt'):
            try:
                _, *key, identity, _ = map(int, file.stem.split('-'))
            except ValueError:
                continue  # not one of ours
            self._add(tuple(key), identity, file)

    @property
    def num_bytes(self) -> int:
        """int: Size of the files."""
        return sum(self._sizes.values())

    def clear(self) -> None:
        """Forget the files, which stay, and write no more."""
        self._files.clear()
        self._sizes.clear()
        self._limit = 0

    def _add(self, key: Key, identity: int, file: Path) -> None:
        self._files.setdefault(key, {})[identity] = file
        self._sizes[file] = file.stat().st_size

    def _find(self, key: Key, identity: int) -> Any:
        files = self._files.get(key, {})
        file = files.get(identity)
        if file is None:
            self.missed += bool(files)
            return None
        try:
            if file not in self._checked:
                checksum = int(file.stem.rpartition('-')[2])
                if zlib.crc32(file.read_bytes()) != checksum:
                    return None
                self._checked.add(file)
            return torch.load(file, mmap=True, weights_only=True)
        except OSError:
            return None

    def _store(self, key: Key, identity: int, result: Any) -> None:
        if not self._limit:
            return
        buffer = io.BytesIO()
        # Clones: of a view, the whole storage would be saved.
        torch.save(
            tree_map_only(Tensor, lambda x: x.detach().cpu().clone(), result),
            buffer)
        data = buffer.getbuffer()
        if len(data) > self._limit:
            self._stop('the share of train_cfg.cache_limit that is left to '
                       f'this process, {self._limit / 2**30:.2f} GiB, is '
                       'used up')
            return
        name = '-'.join(
            map(str, (self._rank, *key, identity, zlib.crc32(data))))
        file = self._folder / f'{name}.pt'
        part = self._folder / f'{uuid.uuid4().hex}.tmp'
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            self._stop(str(error))
            return
        self._limit -= len(data)
        self._add(key, identity, file)

    def _stop(self, reason: str) -> None:
        self._limit = 0
        MMLogger.get_current_instance().warning(
            f'The teacher cache in {self._folder} is closed: {reason}. '
            'Training goes on with the same result; the teachers compute '
            'what is not cached in every epoch. Free some space before the '
            'next run, or use fewer cached_passes or taps.')
