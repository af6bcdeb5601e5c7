# Copyright (c) sskd_mm authors. All rights reserved.
import hashlib
import json
import shutil
from pathlib import Path
from typing import Tuple

import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ...distillers.disk_teacher_cache import DiskTeacherCache
from ...stages import Phase
from ...version import __version__

GIB = 2**30
#: Keys of a dataloader that do not decide what is loaded.
_HOW_IT_IS_LOADED = ('num_workers', 'persistent_workers', 'pin_memory',
                     'prefetch_factor')


def open_teacher_cache(loop, phase: Phase, cache_dir: str,
                       cache_limit: float) -> DiskTeacherCache:
    """The cache on disk for a phase, and those that share its passes.

    It lies in a folder of its own below ``cache_dir``, whose name is a digest
    of all that decides what the teachers compute: their configs and weights,
    the taps, the data and its pipeline, seed, batch, number of processes,
    precision, device and versions.

    Args:
        loop (StageByStageTrainLoop): It has just entered the phase.
        phase (Phase): The phase.
        cache_dir (str): Of all caches.
        cache_limit (float): GiB that ``cache_dir`` may have.

    Returns:
        DiskTeacherCache: With what is there of an earlier run.

    Raises:
        ValueError: What is going to be written exceeds the limit or the free
            space.
    """
    root, world = Path(cache_dir), get_world_size()
    folder = root / _digest(loop, phase)
    used = _size(root)
    allowed = max(0, int(cache_limit * GIB) - used)
    cache = DiskTeacherCache(folder, get_rank(), allowed // world)
    num_bytes, teachers, student = _measure(loop)
    sharing = [
        p for p in loop.phases
        if p.cached_passes and p.cache_begin == phase.cache_begin
    ]
    epochs = sum(p.max_epochs for p in sharing)
    passes = min(phase.cached_passes, epochs)
    whole = passes * len(loop.dataloader.dataset) * num_bytes
    # Each process has as much.
    there = min(whole, cache.num_bytes * world)
    missing = whole - there
    free = shutil.disk_usage(_existing(root)).free
    names = ', '.join(p.name for p in sharing)
    loop.runner.logger.info(
        f'Cache of the teachers in {folder}: about {whole / GIB:.2f} GiB for '
        f'{passes} of the {epochs} epochs of {names} (for images '
        f'of the size of the first), of which {there / GIB:.2f} GiB are '
        f'there. Room: {allowed / GIB:.2f} GiB up to cache_limit='
        f'{cache_limit:g}, {free / GIB:.2f} GiB free on the disk. It costs '
        'writing them once, while the teachers run as they would anyway. It '
        f'saves the teachers\' {teachers / 1e9:.3g} GFLOPs an image, at least '
        f'{teachers / (teachers + 3 * student):.0%} of a step, in the other '
        'epochs, and in all of a later run with the same teachers, data and '
        'settings.')
    for room, what, cure in (
        (allowed, f'train_cfg.cache_limit={cache_limit:g} GiB leave '
         f'{allowed / GIB:.2f} GiB of {cache_dir!r}, where '
         f'{used / GIB:.2f} GiB lie', 'raise cache_limit, delete folders of '
         'caches that are not needed any more'),
        (free, f'the disk of {cache_dir!r} has {free / GIB:.2f} GiB free',
         'choose a cache_dir on another disk')):
        if missing > room:
            raise ValueError(
                f'The cache of the teachers for {names} needs about '
                f'{missing / GIB:.2f} GiB more, but {what}. Either {cure}, '
                'or set fewer cached_passes or taps. Without cache_dir what '
                'the teachers computed is held in memory.')
    return cache


@torch.no_grad()
def _measure(loop) -> Tuple[float, float, float]:
    """Of an image the bytes that are kept, the teachers' FLOPs, and those of
    the student's forward pass."""
    distiller = loop.distiller
    data = distiller.data_preprocessor(loop.sample(), False)
    inputs = data['inputs']
    distiller.eval()
    with loop.runner.optim_wrapper.optim_context(distiller):
        with FlopCounterMode(display=False) as teachers:
            taught = distiller.taught(inputs, data.get('data_samples'))
        with FlopCounterMode(display=False) as student:
            distiller.student(**data, mode='tensor')
    distiller.train()
    num_bytes = sum(x.numel() * x.element_size() for x in tree_leaves(taught)
                    if isinstance(x, Tensor))
    return (num_bytes / len(inputs),
            teachers.get_total_flops() / len(inputs),
            student.get_total_flops() / len(inputs))


def _digest(loop, phase: Phase) -> str:
    distiller, wrapper = loop.distiller, phase.optim_wrapper
    device = next(distiller.parameters()).device
    # MMEngine's switch --amp sets the type.
    precision = [wrapper.get('type'), wrapper.get('dtype')]
    identity = dict(
        versions=[__version__, torch.__version__],
        device=torch.cuda.get_device_name(device)
        if device.type == 'cuda' else device.type,
        precision=[*precision, torch.get_float32_matmul_precision()],
        teachers=[teacher.digest() for teacher in distiller.teachers],
        taught=distiller.what_is_taught(),
        data={
            key: value
            for key, value in loop.dataloader_cfg.items()
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
