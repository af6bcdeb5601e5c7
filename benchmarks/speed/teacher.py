# Copyright (c) sskd_mm authors. All rights reserved.
"""What the teacher costs, and how to make it cheaper.

A plain forward pass, and one in ``inference_mode``, in channels_last, in
bfloat16, and compiled; one pass for all taps compared with one per tap; a step
of a mimic phase with the teacher's features computed, cached in memory, and
cached on disk.
"""
import functools
import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Optional

import torch
from mmengine.runner import Runner
from pairs import cifar, imagenet
from side_by_side import median, ratio, side_by_side
from table import Table

from sskd_mm.distillers.disk_teacher_cache import DiskTeacherCache
from sskd_mm.distillers.teacher_cache import TeacherCache
from sskd_mm.engine.seeding import seed_everything

PAIRS = {
    'CIFAR ResNet-56, 128 images of 32 x 32': cifar,
    'ResNet-50, 8 images of 224 x 224': imagenet,
}
REPEATS = 8


class Setting:
    """A pair of networks about to mimic all taps at once.

    Args:
        pair (Callable): One of ``pairs``.
        work_dir (Path): Folder for its files.
        compile (bool): Whether the stages are compiled. Defaults to False.
    """

    def __init__(self,
                 pair: Callable,
                 work_dir: Path,
                 compile: bool = False) -> None:
        cfg = pair(work_dir, 1)
        cfg.model.compile = compile
        cfg.train_cfg.schedule = 'joint'
        self.loop = Runner.from_cfg(cfg).train_loop
        self.loop.enter_phase(self.loop.phases[0])
        self.distiller = self.loop.distiller
        self.batch = next(iter(self.loop.dataloader))
        self.inputs = self.distiller.data_preprocessor(self.batch,
                                                       True)['inputs']
        self.taps = [s.teachers[0] for s in self.distiller.stages.values()]
        self.teacher = self.distiller.teachers[0]
        self.distiller.compile_stages()

    def look(self, taps=None) -> Callable[[], None]:
        """Return a function that runs the teacher once."""
        inputs = self.inputs
        return lambda: self.teacher.features(inputs, taps or self.taps)

    def step(self, cache: Optional[TeacherCache] = None) -> None:
        """Run a training step, always with the same batch.

        Args:
            cache (TeacherCache, optional): Cache of the teacher's features.
                Defaults to none.
        """
        key = (0, 0)
        # Seeded, since a batch with other random preprocessing is a new one.
        seed_everything(0, *key)
        teachers = self.distiller.teachers
        teachers.cache = cache
        teachers.begin_batch(key, self.batch)
        self.distiller.train_step(
            self.batch, optim_wrapper=self.loop.runner.optim_wrapper)
        teachers.end_batch()


def _ways(pair: Callable, folder: Path) -> Dict[str, Callable]:
    made = {}

    def make(name, **options) -> Setting:
        made[name] = Setting(pair, folder / name, **options)
        return made[name]

    plain = make('as it is').look()
    ways = {'as it is': plain}

    def inference():
        with torch.inference_mode():
            plain()

    def autocast(look):

        def run():
            with torch.autocast(made['as it is'].inputs.device.type,
                                torch.bfloat16):
                look()

        return run

    ways['inference_mode'] = inference
    last = make('channels_last')
    last.teacher.model.to(memory_format=torch.channels_last)
    last.inputs = last.inputs.contiguous(memory_format=torch.channels_last)
    ways['channels_last'] = last.look()
    ways['compiled'] = make('compiled', compile=True).look()
    ways['bfloat16'] = autocast(plain)
    ways['bfloat16, channels_last'] = autocast(last.look())
    return ways


def _passes(title: str, pair: Callable) -> Table:
    with tempfile.TemporaryDirectory() as tmp:
        ways = _ways(pair, Path(tmp))
        seconds = side_by_side(ways, REPEATS, 2)
    first = seconds['as it is']
    return Table(
        f'A pass of the teacher: {title}', ['way', 'ms', 'of as it is'],
        [[name, median(s, 1000), ratio(s, first)]
         for name, s in seconds.items()],
        f'{REPEATS} passes each, in turn; medians with quartiles.')


def _taps(title: str, pair: Callable) -> Table:
    with tempfile.TemporaryDirectory() as tmp:
        setting = Setting(pair, Path(tmp))

        def each():
            for tap in setting.taps:
                setting.look([tap])()

        seconds = side_by_side({
            'one for all': setting.look(),
            'one for each': each
        }, REPEATS, 2)
    return Table(
        f'Passes for {len(setting.taps)} taps, as `joint` and `local` have '
        f'them: {title}', ['passes', 'ms', 'ratio'],
        [[name, median(s, 1000),
          ratio(s, seconds['one for all'])] for name, s in seconds.items()])


def _caches(title: str, pair: Callable) -> Table:
    with tempfile.TemporaryDirectory() as tmp:
        setting = Setting(pair, Path(tmp))
        caches = {
            'computed': None,
            'from memory': TeacherCache(),
            'from disk': DiskTeacherCache(Path(tmp, 'cache'), 0, 2**40)
        }

        seconds = side_by_side(
            {
                name: functools.partial(setting.step, cache)
                for name, cache in caches.items()
            }, REPEATS, 2)
    rows = [[
        name,
        median(s, 1000),
        ratio(s, seconds['computed']),
        caches[name].num_bytes / 2**20 if caches[name] else '-'
    ] for name, s in seconds.items()]
    return Table(
        f'A step of the phase `mimic/joint`: {title}',
        ["teacher's features", 'ms', 'of computed', 'MiB a batch'], rows,
        'The file is in the page cache of the operating system.')


def run() -> List[Table]:
    return [
        table(title, pair) for title, pair in PAIRS.items()
        for table in (_passes, _taps, _caches)
    ]
