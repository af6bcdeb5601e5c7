# Copyright (c) sskd_mm authors. All rights reserved.
"""sskd_mm and torchdistill 1.1.5 on the same work, end to end.

ResNet-56 to -20, 2,560 noise images in CIFAR-10's format, batches of 128, one
or four epochs per stage, no validation. torchdistill uses its own networks,
truncated after the tap, torchvision's transforms and two workers; sskd_mm
keeps its data in memory, as in its configs. Needs
``pip install torchdistill==1.1.5``.
"""
import subprocess
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List

from pairs import cifar
from side_by_side import median, ratio, side_by_side
from table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
BATCHES = 20
STAGES = ('layer1', 'layer2', 'layer3')
# Later stages and epochs reuse the teacher's features.
CACHED = {
    'sskd_mm, channels_last, cached_passes=1': {
        'model.channels_last': True,
        'train_cfg.mimic.cached_passes': 1
    }
}
AS_SHIPPED: Dict[str, dict] = {'sskd_mm': {}}
# Stages, epochs per stage, settings of sskd_mm.
WORK = {
    'layer3, 1 epoch': (STAGES[2:], 1, AS_SHIPPED),
    'three stages, 1 epoch each': (STAGES, 1, AS_SHIPPED | CACHED),
    'layer3, 4 epochs': (STAGES[2:], 4, CACHED),
    'three stages, 4 epochs each': (STAGES, 4, CACHED),
}


def call(*command) -> None:
    """Run a process; show its output only if it fails."""
    result = subprocess.run([sys.executable, *map(str, command)],
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True)
    if result.returncode:
        sys.exit(result.stdout)


def run() -> List[Table]:
    if find_spec('torchdistill') is None:
        sys.exit('torchdistill is missing: pip install torchdistill==1.1.5')
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        for name, (stages, epochs, forms) in WORK.items():
            ways = {}
            for number, (form, options) in enumerate(forms.items()):
                cfg = cifar(tmp, BATCHES)
                cfg.model.stages = [f'backbone.{stage}' for stage in stages]
                cfg.train_cfg.mimic.max_epochs = epochs
                cfg.merge_from_dict(options)
                path = tmp / f'config{number}.py'
                cfg.dump(path)
                ways[form] = partial(call, ROOT / 'tools/train.py', path)
            ways['torchdistill'] = partial(
                call, ROOT / 'benchmarks/torchdistill_driver.py',
                tmp / 'cifar10', 128 * BATCHES, epochs, tmp / 'student.pth',
                *stages)
            seconds = side_by_side(ways, repeats=3, warmup=0)
            rows += [[
                name, form,
                median(values),
                ratio(values, seconds['torchdistill'])
            ] for form, values in seconds.items()]
    return [
        Table(
            f'ResNet-56 to -20, {BATCHES} batches of 128 images per epoch, '
            'end to end',
            ['work', 'tool', 's', 'ratio'], rows,
            'Three runs each, in turn; medians with quartiles. sskd_mm: '
            '`tools/train.py` with the shipped config, CIFAR in memory, '
            'batches cropped, flipped and normalised at once. torchdistill: '
            'its own networks and MultiStagesDistillationBox (one stage: '
            'DistillationBox), truncated after the tap by `sequential`, '
            'earlier stages frozen, teacher without gradients, torchvision\'s '
            'transforms in two workers. Both: SGD, MSE of one tap per stage, '
            'no validation. cached_passes=1: the cropped and flipped batches '
            'of the first epoch are replayed with the '
            'teacher\'s features.')
    ]
