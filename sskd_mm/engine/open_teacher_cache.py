# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple, Tuple

import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..distillers.disk_teacher_cache import DiskTeacherCache
from ..distillers.teacher_cache import TeacherCache
from ..stages import Phase
from ..version import __version__
from .available_memory import available_memory
from .data_feed import DataFeed

GIB = 2**30
#: Keys of a dataloader that do not decide what is loaded.
_HOW_IT_IS_LOADED = ('num_workers', 'persistent_workers', 'pin_memory',
                     'prefetch_factor')


def open_teacher_cache(loop, phase: Phase) -> TeacherCache:
    """The cache of the teachers' features for a phase, and those that share
    its passes.

    On disk it lies in a folder of its own below ``loop.cache_dir``, whose
    name is a digest of all that decides what the teachers compute: their
    configs and weights, the taps, the data and its pipeline, seed, batch,
    number of processes, precision, device and versions.

    Args:
        loop (StageByStageTrainLoop): It has just entered the phase.
        phase (Phase): The phase.

    Returns:
        TeacherCache: In memory; or on disk, with what is there of an earlier
        run.

    Raises:
        ValueError: The features do not fit into memory, exceed the limit of
            the folder or the free space of its disk.
    """
    feed = loop.feed_of(phase)
    image_bytes, gflops = _measure(loop, feed)
    sharing = [
        p for p in loop.phases
        if p.caches_teachers and p.cache_begin == phase.cache_begin
    ]
    needed = Needed(
        names=', '.join(p.name for p in sharing),
        passes=min(phase.cached_passes,
                   sum(-(-p.max_iters // len(feed)) for p in sharing)),
        image_bytes=image_bytes,
        images=len(feed.dataset))
    if loop.cache_dir is None:
        return _open_in_memory(needed)
    return _open_on_disk(loop, phase, needed, gflops)


class Needed(NamedTuple):
    """What the kept features of some phases take.

    Attributes:
        names (str): Of the phases.
        passes (int): Over the training set.
        image_bytes (float): Of one image.
        images (int): Of the training set.
    """

    names: str
    passes: int
    image_bytes: float
    images: int

    @property
    def num_bytes(self) -> float:
        """float: Of all passes, in all processes together."""
        return self.passes * self.images * self.image_bytes


def _open_in_memory(needed: Needed) -> TeacherCache:
    available = available_memory()
    # A machine's processes share the images of one run.
    share = needed.num_bytes * int(os.environ.get(
        'LOCAL_WORLD_SIZE', 1)) / get_world_size()
    if available is not None and share > available:
        raise ValueError(
            f'train_cfg: cached_passes={needed.passes} of {needed.names} '
            f'holds the teachers\' features of {needed.images:,} images, '
            f'{needed.image_bytes / 2**20:.2f} MiB each, in memory: '
            f'{share / GIB:.1f} GiB on this machine, where '
            f'{available / GIB:.1f} GiB are available. Keep them on disk, '
            "train_cfg.cache_dir='work_dirs/teacher_cache', cache fewer "
            'passes, compare fewer taps, or leave cached_passes out.')
    return TeacherCache()


def _open_on_disk(loop, phase: Phase, needed: Needed,
                  gflops: float) -> DiskTeacherCache:
    root, world = Path(loop.cache_dir), get_world_size()
    folder = root / _digest(loop, phase)
    used = _size(root)
    allowed = max(0, int(loop.cache_limit * GIB) - used)
    cache = DiskTeacherCache(folder, get_rank(), allowed // world)
    # Each process has as much.
    there = min(needed.num_bytes, cache.num_bytes * world)
    missing = needed.num_bytes - there
    free = shutil.disk_usage(_existing(root)).free
    loop.runner.logger.info(
        f'Cache of the teachers in {folder}: about '
        f'{needed.num_bytes / GIB:.2f} GiB for {needed.passes} passes of '
        f'{needed.names} (for images of the size of the first), of which '
        f'{there / GIB:.2f} GiB are there. Room: {allowed / GIB:.2f} GiB up '
        f'to cache_limit={loop.cache_limit:g}, {free / GIB:.2f} GiB free on '
        f'the disk. It saves the teachers\' {gflops:.3g} GFLOPs an image in '
        'all other passes, and in all of a later run with the same teachers, '
        'data and settings.')
    for room, what, cure in (
        (allowed, f'train_cfg.cache_limit={loop.cache_limit:g} GiB leave '
         f'{allowed / GIB:.2f} GiB of {loop.cache_dir!r}, where '
         f'{used / GIB:.2f} GiB lie', 'raise cache_limit, delete folders of '
         'caches that are not needed any more'),
        (free, f'the disk of {loop.cache_dir!r} has {free / GIB:.2f} GiB free',
         'choose a cache_dir on another disk')):
        if missing > room:
            raise ValueError(
                f'The cache of the teachers for {needed.names} needs about '
                f'{missing / GIB:.2f} GiB more, but {what}. Either {cure}, '
                'or set fewer cached_passes or taps. Without cache_dir '
                'features are held in memory.')
    return cache


@torch.no_grad()
def _measure(loop, feed: DataFeed) -> Tuple[float, float]:
    """Of an image the bytes that are kept, and the teachers' GFLOPs."""
    distiller = loop.distiller
    data = distiller.data_preprocessor(feed.sample(), False)
    inputs = data['inputs']
    distiller.eval()
    with loop.runner.optim_wrapper.optim_context(distiller):
        with FlopCounterMode(display=False) as counter:
            outputs = distiller.teacher_outputs(inputs,
                                                data.get('data_samples'))
    distiller.train()
    num_bytes = sum(x.numel() * x.element_size() for x in tree_leaves(outputs)
                    if isinstance(x, Tensor))
    return (num_bytes / len(inputs),
            counter.get_total_flops() / len(inputs) / 1e9)


def _digest(loop, phase: Phase) -> str:
    distiller, wrapper = loop.distiller, phase.optim_wrapper
    device = next(distiller.parameters()).device
    # MMEngine's switch --amp sets the type.
    precision = [wrapper.get('type'), wrapper.get('dtype')]
    identity = dict(
        # What a line of the index says.
        form=2,
        versions=[__version__, torch.__version__],
        device=torch.cuda.get_device_name(device)
        if device.type == 'cuda' else device.type,
        precision=[*precision, torch.get_float32_matmul_precision()],
        teachers=[teacher.digest() for teacher in distiller.teachers],
        outputs=distiller.teacher_outputs_key(),
        data={
            key: value
            for key, value in phase.dataloader.items()
            if key not in _HOW_IT_IS_LOADED
        },
        seed=loop.runner.seed,
        processes=get_world_size())
    text = json.dumps(identity, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _size(root: Path) -> int:
    size = 0
    for path in root.rglob('*'):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # deleted meanwhile
            pass
    return size


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
