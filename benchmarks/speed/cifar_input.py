# Copyright (c) sskd_mm authors. All rights reserved.
"""How many images a second reach a network of CIFAR size.

python benchmarks/cifar_input.py [--data-root data/cifar10/] [--images 10000]

Compares CIFARInMemory with CropFlipDataPreprocessor to the pipeline that
mmpretrain's configs have for CIFAR (RandomCrop, RandomFlip, PackInputs, then
ClsDataPreprocessor), with no worker and with two. A repeat runs each of them
once over the images, so that what else the machine does hits all alike.
Without --data-root the images are noise.
"""
import argparse

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner

import sskd_mm  # noqa: F401
from sskd_mm.datasets import SeededDataset

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
STANDARD = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
WAYS = {
    'in memory, batch at once': ([], 'CropFlipDataPreprocessor', 0),
    'pipeline, no worker': (STANDARD, 'ClsDataPreprocessor', 0),
    'pipeline, two workers': (STANDARD, 'ClsDataPreprocessor', 2),
}




def build(data_root: str, images: int, batch_size: int, device: str,
          pipeline: list, preprocessor: str, workers: int):
    """A dataloader and a preprocessor, as a distillation has them."""
    dataset = DATASETS.build(
        dict(
            type='CIFARInMemory',
            data_root=data_root,
            indices=images,
            pipeline=pipeline))
    loader = Runner.build_dataloader(
        dict(
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=SeededDataset(dataset, 0)))
    preprocessor = MODELS.build(dict(type=preprocessor, **NORM)).to(device)
    return loader, preprocessor


def measure(loader, preprocessor, device: str) -> float:
    """Images a second of one epoch."""
    start, number = time.perf_counter(), 0
    for batch in loader:
        number += len(preprocessor(batch, True)['inputs'])
    if device == 'cuda':
        torch.cuda.synchronize()
    return number / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', help='holds cifar-10-batches-py')
    parser.add_argument('--images', type=int, default=10000)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    with tempfile.TemporaryDirectory() as tmp, \
            DefaultScope.overwrite_default_scope('mmpretrain'):
        if args.data_root is None:
            write_noise(Path(tmp))
        ways = {
            name: build(args.data_root or tmp, args.images, args.batch_size,
                        device, *way)
            for name, way in WAYS.items()
        }
        rates = {name: [] for name in ways}
        for loader, preprocessor in ways.values():
            measure(loader, preprocessor, device)  # starts the workers
        for _ in range(args.repeats):
            for name, (loader, preprocessor) in ways.items():
                rates[name].append(measure(loader, preprocessor, device))
    print(f'{args.images} images, batches of {args.batch_size}, {device}, '
          f'{torch.get_num_threads()} threads, {args.repeats} repeats\n')
    print('| way | images a second, median | lowest to highest |')
    print('| --- | --- | --- |')
    for name, values in rates.items():
        print(f'| {name} | {statistics.median(values):,.0f} | '
              f'{min(values):,.0f} to {max(values):,.0f} |')


if __name__ == '__main__':
    main()
