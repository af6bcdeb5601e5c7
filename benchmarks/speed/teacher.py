# Copyright (c) sskd_mm authors. All rights reserved.
"""What a teacher costs.

Its pass in several forms; one pass for all taps beside a pass for each; and a
mimic step that computes it beside one that recalls what was computed
(``cached_passes``). ResNet-50 at 224 x 224, batches of 8, and CIFAR
ResNet-56, batches of 128.
"""
import copy
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.runner import Runner
from pairs import cifar, imagenet
from side_by_side import median, ratio, side_by_side
from table import Table

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
PAIRS = {
    'CIFAR ResNet-56, 128 images of 32 x 32': (cifar, (128, 3, 32, 32)),
    'ResNet-50, 8 images of 224 x 224': (imagenet, (8, 3, 224, 224)),
}


def distiller_of(cfg: Config):
    """A distiller that is ready to train in its first phase."""
    cfg.train_cfg.schedule = 'joint'
    cfg.train_cfg.mimic.cached_passes = 1
    runner = Runner.from_cfg(cfg)
    loop = runner.build_train_loop(runner._train_loop)
    loop.distiller.enter_phase(loop.phases[0])
    return loop.distiller


def passes(distiller, inputs: torch.Tensor) -> Dict[str, Callable]:
    """A teacher's pass in several forms."""
    teacher = distiller.teachers[0]
    taps = [stage.teachers[0] for stage in distiller.stages.values()]
    forms = {'as it is': teacher.model}
    forms['batch norm folded'] = fuse_conv_bn(copy.deepcopy(teacher.model))
    forms['channels_last'] = copy.deepcopy(
        teacher.model).to(memory_format=torch.channels_last)

    def of(model, taps=taps, inputs=inputs, mode=torch.no_grad):

        def run():
            other = copy.copy(teacher)
            other.model = model
            with mode():
                other.features(inputs, taps)

        return run

    ways = {name: of(model) for name, model in forms.items()}
    ways['channels_last'] = of(
        forms['channels_last'],
        inputs=inputs.to(memory_format=torch.channels_last))

    def half():
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            ways['as it is']()

    def each():
        for tap in taps:
            of(teacher.model, [tap])()

    return {
        **ways, 'bfloat16 (autocast)': half,
        'inference_mode': of(teacher.model, mode=torch.inference_mode),
        'a pass for each tap': each
    }


def steps(distiller, inputs: torch.Tensor) -> Dict[str, Callable]:
    """A mimic step on all taps, with and without the teacher's pass."""
    names = list(distiller.stages)

    def step(key):

        def run():
            distiller.teacher_cache.key = key
            pairs = distiller.compare(inputs, names)
            sum(
                distiller.mimic_loss(adapted, target)
                for levels in pairs.values()
                for _, adapted, target in levels).backward()

        return run

    return {'teacher computed': step(None), 'teacher recalled': step(0)}


def run() -> List[Table]:
    tables = []
    for title, (pair, shape) in PAIRS.items():
        with tempfile.TemporaryDirectory() as tmp:
            distiller = distiller_of(pair(Path(tmp), 1)).to(DEVICE)
        inputs = torch.randn(shape, device=DEVICE)
        for what, ways in (('its pass, all taps', passes),
                           ('a step of the phase joint', steps)):
            seconds = side_by_side(
                ways(distiller, inputs), repeats=8, warmup=2)
            first = next(iter(seconds.values()))
            rows = [[name, median(values, 1000),
                     ratio(values, first)] for name, values in seconds.items()]
            tables.append(
                Table(f'{title}: {what}', ['way', 'ms', 'ratio'], rows,
                      'Eight times each, in turn; medians with quartiles.'))
        cache = distiller.teacher_cache
        tables[-1].notes += (
            f' What is held is {cache.num_bytes / 2**20:.1f} MiB a batch.')
    return tables
