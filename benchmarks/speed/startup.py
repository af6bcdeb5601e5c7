# Copyright (c) sskd_mm authors. All rights reserved.
"""Startup time of the small configs, up to the first iteration.

Each runs three times in its own process: Python and imports, the config, the
Runner with data and networks, and the rest of the first iteration. Teachers
have random weights and are not evaluated.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

import cv2
import numpy as np
from cifar_noise import write_noise
from table import Table

from sskd_mm.datasets import make_digits_detection

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = ('imports', 'config', 'runner and data', 'to the first iteration')

PROCESS = '''
import sys, time
begin = float(sys.argv[3])
marks = []
def mark(): marks.append(time.time() - begin)
from pathlib import Path
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
import sskd_mm
import mmdet.models, mmpretrain.models
from sskd_mm.distillers.teacher import read_teacher_config
mark()
cfg = Config.fromfile(sys.argv[1])
folder = Path(sys.argv[2])
cfg.work_dir = str(folder / 'work_dir')
cfg.log_level = 'ERROR'
cfg.model.teacher.checkpoint = str(folder / 'teacher.pth')
cfg.train_cfg.evaluate_teacher = False
for key in ('train', 'val', 'test'):
    cfg[f'{key}_dataloader'].dataset.data_root = str(folder / 'data') + '/'
for key in ('val_evaluator', 'test_evaluator'):
    if 'ann_file' in cfg[key]:
        cfg[key].ann_file = f'{folder}/data/annotations/instances_val.json'
if not Path(cfg.model.teacher.checkpoint).exists():
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(read_teacher_config(cfg.model.teacher.cfg).model)
    torch.save(dict(state_dict=model.state_dict()),
               cfg.model.teacher.checkpoint)
mark()
runner = Runner.from_cfg(cfg)
mark()
class First(Hook):
    priority = 'LOWEST'
    def after_train_iter(self, *args, **kwargs):
        mark()
        print('MARKS', marks, flush=True)
        import os
        os._exit(0)
runner.register_hook(First())
runner.train()
'''


def write_cifar(root: Path) -> None:
    """Write noise in CIFAR-10's format, including test images."""
    root.mkdir()
    write_noise(root)
    folder = root / 'cifar-10-batches-py'
    (folder / 'test_batch').write_bytes(
        (folder / 'data_batch_1').read_bytes())


def write_digits(root: Path) -> None:
    """Write a fifth of the embedded data set."""
    make_digits_detection(root, num_train=200, num_val=50)


def write_faces(root: Path) -> None:
    """Write noise images instead of ORL's: 30 people, ten images each."""
    rng = np.random.default_rng(0)
    for person in range(30):
        folder = root / f'person{person:02}'
        folder.mkdir(parents=True)
        for i in range(10):
            noise = rng.integers(0, 256, (112, 92), np.uint8)
            cv2.imwrite(str(folder / f'{i}.png'), noise)
    subprocess.run([
        sys.executable,
        str(ROOT / 'tools/dataset_converters/make_face_lists.py'),
        str(root)
    ],
                   check=True,
                   stdout=subprocess.DEVNULL)


#: Configs, each with the function that writes its data.
CONFIGS = {
    'CIFAR ResNet-56 to -20': ('sskd/cifar10/resnet56_resnet20_cifar10.py',
                               write_cifar),
    'Faster R-CNN R50 to R18, embedded set':
    ('sskd/faster_rcnn_r18_digits.py', write_digits),
    'Faces, IResNet-18 to MobileFaceNet':
    ('sskd/face/iresnet18_mobilefacenet_orl.py', write_faces),
}


def start(config: str, folder: Path) -> List[float]:
    """Measure the seconds of each step."""
    result = subprocess.run([
        sys.executable, '-c', PROCESS,
        str(ROOT / 'configs' / config),
        str(folder),
        str(time.time())
    ],
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True)
    lines = [x for x in result.stdout.splitlines() if x.startswith('MARKS')]
    if not lines:
        sys.exit(result.stdout)
    marks = json.loads(lines[0][len('MARKS '):])
    return [b - a for a, b in zip([0, *marks], marks)]


def run() -> List[Table]:
    rows = []
    for name, (config, write_data) in CONFIGS.items():
        with tempfile.TemporaryDirectory() as tmp:
            folder = Path(tmp)
            write_data(folder / 'data')
            start(config, folder)  # writes the teacher, warms the disk cache
            times = [start(config, folder) for _ in range(3)]
        steps = [statistics.median(step) for step in zip(*times)]
        rows.append([name, *steps, statistics.median(map(sum, times))])
    return [
        Table('Seconds to the end of the first iteration',
              ['config', *STEPS, 'in all'], rows,
              'Medians of three processes.')
    ]
