# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Tuple

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
#: Keys of a dataloader that do not affect what it loads.
_LOADING_KEYS = ('num_workers', 'persistent_workers', 'pin_memory',
                 'prefetch_factor')


def open_teacher_cache(loop, phase: Phase) -> TeacherCache:
    """Open the teacher cache of a phase and of those that share its passes.

    On disk, its folder in ``loop.cache_dir`` is named by a digest of all that
    decides the teachers' outputs: configs and weights, taps, data and
    pipeline, seed, batch size, number of processes, precision, device and
    versions.

    Raises:
        ValueError: The features do not fit into memory, the limit of the
            folder or the free disk space.
    """
    feed = loop.feed_of(phase)
    image_bytes, gflops = _measure(loop, feed)
    sharing = [
        p for p in loop.phases
        if p.caches_teachers and p.cache_begin == phase.cache_begin
    ]
    passes = min(phase.cached_passes,
                 sum(-(-p.max_iters // len(feed)) for p in sharing))
    images = len(feed.dataset)
    needed = passes * images * image_bytes
    what = (f'{passes} passes of {", ".join(p.name for p in sharing)} over '
            f'{images:,} images, {image_bytes / 2**20:.2f} MiB each')
    if loop.cache_dir is None:
        return _open_in_memory(needed, what)
    return _open_on_disk(loop, phase, needed, what, gflops)


def _open_in_memory(needed: float, what: str) -> TeacherCache:
    available = available_memory()
    # The processes on a machine share the images.
    share = needed * int(os.environ.get('LOCAL_WORLD_SIZE',
                                        1)) / get_world_size()
    if available is not None and share > available:
        raise ValueError(
            'train_cfg.cached_passes: the teacher cache does not fit into '
            f'memory. {what}, take {share / GIB:.1f} GiB on this machine; '
            f'{available / GIB:.1f} GiB are available. Cache on disk, '
            "train_cfg.cache_dir='work_dirs/teacher_cache', cache fewer "
            'passes, compare fewer taps, or remove cached_passes.')
    return TeacherCache()


def _open_on_disk(loop, phase: Phase, needed: float, what: str,
                  gflops: float) -> DiskTeacherCache:
    root, world = Path(loop.cache_dir).absolute(), get_world_size()
    folder = root / _digest(loop, phase)
    used = _size(root)
    allowed = max(0, int(loop.cache_limit * GIB) - used)
    cache = DiskTeacherCache(folder, get_rank(), allowed // world)
    # Each process holds as much.
    cached = min(needed, cache.num_bytes * world)
    missing = needed - cached
    existing = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    loop.runner.logger.info(
        f'Teacher cache in {folder}: about {needed / GIB:.2f} GiB for {what} '
        f'(estimated from the first image), {cached / GIB:.2f} GiB of it '
        f'there already. Room: {allowed / GIB:.2f} GiB up to '
        f'cache_limit={loop.cache_limit:g}, {free / GIB:.2f} GiB free on the '
        f'disk. It saves {gflops:.3g} GFLOPs of the teachers per image in '
        'all other passes, and in later runs with the same teachers, data '
        'and settings.')
    for room, limit, remedy in (
        (allowed, f'train_cfg.cache_limit={loop.cache_limit:g} GiB leaves '
         f'{allowed / GIB:.2f} GiB of {loop.cache_dir!r}, which holds '
         f'{used / GIB:.2f} GiB', 'raise cache_limit, delete folders of '
         'caches that you no longer need'),
        (free, f'the disk of {loop.cache_dir!r} has {free / GIB:.2f} GiB free',
         'choose a cache_dir on another disk')):
        if missing > room:
            raise ValueError(
                f'The teacher cache needs about {missing / GIB:.2f} GiB more '
                f'for {what}, but {limit}. Either {remedy}, or use fewer '
                'cached_passes or taps. Without cache_dir, features are held '
                'in memory.')
    return cache


@torch.no_grad()
def _measure(loop, feed: DataFeed) -> Tuple[float, float]:
    """Bytes to cache and the teachers' GFLOPs, per image."""
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
    # MMEngine's --amp sets the type.
    precision = [wrapper.get('type'), wrapper.get('dtype')]
    identity = dict(
        file_format=3,
        versions=[__version__, torch.__version__],
        device=torch.cuda.get_device_name(device)
        if device.type == 'cuda' else device.type,
        precision=[*precision, torch.get_float32_matmul_precision()],
        teachers=[teacher.digest() for teacher in distiller.teachers],
        outputs=distiller.teacher_outputs_key(),
        data={
            key: value
            for key, value in phase.dataloader.items()
            if key not in _LOADING_KEYS
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
        except FileNotFoundError:  # deleted in the meantime
            pass
    return size
