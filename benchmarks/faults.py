# Copyright (c) sskd_mm authors. All rights reserved.
"""Fault injection: a training process is killed at random instants.

python benchmarks/faults.py [--kills 25] [--seed 0]

Trains the embedded set's distillation for a few iterations a phase, without
a fault and then again and again with a SIGKILL, SIGTERM or SIGINT at random,
each time resumed until it is done. Every run must end with the bits of the
first; the first that does not ends the benchmark with an error.
"""
import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.datasets import make_digits_detection

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def make_config(folder: Path, name: str) -> Path:
    cfg = Config.fromfile(ROOT / 'configs/sskd/faster_rcnn_r18_digits.py')
    cfg.work_dir = str(folder / name)
    cfg.model.teacher.checkpoint = str(folder / 'teacher.pth')
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].dataset.data_root = f'{folder}/digits/'
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].ann_file = f'{folder}/digits/annotations/instances_val.json'
    cfg.train_dataloader.update(
        batch_size=4, num_workers=1, persistent_workers=True)
    cfg.train_dataloader.dataset.pipeline.insert(
        2, dict(type='PhotoMetricDistortion'))
    cfg.train_cfg.phases = {}
    cfg.train_cfg.mimic.max_epochs = cfg.train_cfg.head.max_epochs = 1
    cfg.train_cfg.evaluate_teacher = False
    path = folder / f'{name}.py'
    cfg.dump(path)
    return path


def start(config: Path, resume: bool) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable, ROOT / 'tools/train.py', config,
            *(['--resume'] if resume else [])
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ, 'OMP_NUM_THREADS': '1'
        })


def finish(process: subprocess.Popen, timeout=None) -> None:
    output, _ = process.communicate(timeout=timeout)
    if process.returncode:
        sys.exit(f'The training failed:\n{output}')


def weights(folder: Path, name: str) -> dict:
    path = (folder / name / 'last_checkpoint').read_text()
    return load_checkpoint_file(path)['state_dict']


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=25)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    instants = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_digits_detection(folder / 'digits', num_train=12, num_val=4)
        cfg = Config.fromfile(
            ROOT / 'configs/baselines/faster_rcnn_r50_digits.py')
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        torch.save(
            dict(state_dict=model.state_dict()), folder / 'teacher.pth')

        begin = time.time()
        finish(start(make_config(folder, 'whole'), False))
        seconds = time.time() - begin
        expected = weights(folder, 'whole')
        print(f'without a fault: {seconds:.1f} s', flush=True)

        kills, runs, counts = 0, 0, {s.name: 0 for s in SIGNALS}
        while kills < args.kills:
            name = f'run{runs}'
            config = make_config(folder, name)
            resume = False
            while True:
                process = start(config, resume)
                last = kills >= args.kills
                try:
                    finish(
                        process, None
                        if last else instants.uniform(0.3, 1.1) * seconds)
                    break
                except subprocess.TimeoutExpired:
                    number = instants.choice(SIGNALS)
                    process.send_signal(number)
                    process.communicate()
                    kills, resume = kills + 1, True
                    counts[number.name] += 1
            for key, value in weights(folder, name).items():
                if not torch.equal(value, expected[key]):
                    sys.exit(f'{name}: {key} differs after {kills} kills')
            runs += 1
            print(f'{kills} kills, {runs} runs, all bit-equal', flush=True)
        print(
            json.dumps(
                dict(
                    kills=kills,
                    runs=runs,
                    signals=counts,
                    seed=args.seed,
                    machine=f'{platform.machine()}, {os.cpu_count()} cores',
                    torch=torch.__version__)))


if __name__ == '__main__':
    main()
