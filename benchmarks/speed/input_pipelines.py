# Copyright (c) sskd_mm authors. All rights reserved.
"""Throughput of the input pipelines, without a network.

CIFAR: images in memory, cropped, flipped and normalised by batch, compared
with the pipeline of mmpretrain's configs. Detection: mimic phases, which load
no annotations, compared with head phases, which load boxes, or boxes and
polygon masks. Faces: records in insightface's format compared with image
files. The images are noise. ``bound`` shows the share of loading in training.
"""
import copy
import json
import struct
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import cv2
import numpy as np
import torch
from cifar_noise import write_noise
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from side_by_side import median, ratio, side_by_side
from table import Table

import sskd_mm  # noqa: F401
from sskd_mm.datasets import SeededDataset

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
STANDARD = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]


def cifar(root: Path) -> Dict[str, Callable]:
    """An epoch of 2,000 images in batches of 128."""
    write_noise(root)
    ways = {
        'in memory, a batch at once': ([], 'CropFlipDataPreprocessor', 0),
        "mmpretrain's pipeline": (STANDARD, 'ClsDataPreprocessor', 0),
        'the same, two workers': (STANDARD, 'ClsDataPreprocessor', 2),
    }

    def make(pipeline, preprocessor, workers):
        dataset = DATASETS.build(
            dict(
                type='CIFARInMemory',
                data_root=str(root),
                indices=2000,
                pipeline=pipeline))
        loader = Runner.build_dataloader(
            dict(
                batch_size=128,
                num_workers=workers,
                persistent_workers=workers > 0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate'),
                dataset=SeededDataset(dataset, 0)))
        model = MODELS.build(dict(type=preprocessor, **NORM)).to(DEVICE)

        def epoch():
            for batch in loader:
                model(batch, True)

        return epoch

    return {name: make(*way) for name, way in ways.items()}


def detection(root: Path) -> Dict[str, Callable]:
    """100 images of 640 x 480, 10 objects each, to 1333 x 800."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(100):
        noise = rng.integers(0, 256, (60, 80, 3), np.uint8)
        name = f'{i}.jpg'
        cv2.imwrite(str(root / name), cv2.resize(noise, (640, 480)))
        images.append(dict(id=i, file_name=name, width=640, height=480))
        for _ in range(10):
            x, y, w, h = rng.integers((0, 0, 40, 40), (400, 300, 200, 150))
            angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            outline = np.stack([
                x + w / 2 * (1 + np.cos(angles)),
                y + h / 2 * (1 + np.sin(angles))
            ], 1)
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=i,
                    category_id=1,
                    bbox=[int(v) for v in (x, y, w, h)],
                    area=int(w * h),
                    iscrowd=0,
                    segmentation=[outline.flatten().tolist()]))
    (root / 'train.json').write_text(
        json.dumps(
            dict(
                images=images,
                annotations=annotations,
                categories=[dict(id=1, name='thing')])))
    ways = {}
    for kind, masks in (('boxes', False), ('boxes and masks', True)):
        dataset = DATASETS.build(
            dict(
                type='mmdet.CocoDataset',
                data_root=f'{root}/',
                ann_file='train.json',
                metainfo=dict(classes=('thing', )),
                data_prefix=dict(img=''),
                pipeline=[
                    dict(type='mmdet.LoadImageFromFile'),
                    dict(
                        type='mmdet.LoadAnnotations',
                        with_bbox=True,
                        with_mask=masks),
                    dict(
                        type='mmdet.Resize',
                        scale=(1333, 800),
                        keep_ratio=True),
                    dict(type='mmdet.RandomFlip', prob=0.5),
                    dict(type='mmdet.PackDetInputs')
                ]))
        for wanted in (True, False):
            part = SeededDataset(copy.deepcopy(dataset), 0)
            part.set_annotated(wanted)

            def epoch(part=part):
                for index in range(len(part)):
                    part[index]

            phase = 'head phase' if wanted else 'mimic phase'
            ways[f'{kind}, {phase}'] = epoch
    return ways


def faces(root: Path) -> Dict[str, Callable]:
    """1,000 photos of 112 x 112, as records and in one folder per person."""
    rng = np.random.default_rng(0)
    index, offset = [], 0
    with open(root / 'train.rec', 'wb') as records:
        for i in range(1000):
            noise = rng.integers(0, 256, (14, 14, 3), np.uint8)
            jpeg = cv2.imencode('.jpg', cv2.resize(noise, (112, 112)))[1]
            folder = root / f'person{i % 50}'
            folder.mkdir(exist_ok=True)
            (folder / f'{i}.jpg').write_bytes(jpeg.tobytes())
            # MXNet's format, see RecordFile.
            record = struct.pack('<IfQQ', 0, i % 50, i, 0) + jpeg.tobytes()
            record = struct.pack('<II', 0xced7230a, len(record)) + record
            index.append(f'{i}\t{offset}\n')
            offset += records.write(record + bytes(-len(record) % 4))
    (root / 'train.idx').write_text(''.join(index))

    pipeline = [
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs')
    ]
    load = dict(type='LoadImageFromFile')
    sets = {
        "insightface's records":
        dict(type='FaceRecords', data_root=str(root), pipeline=pipeline),
        'files in a folder a person':
        dict(
            type='mmpretrain.CustomDataset',
            data_prefix=str(root),
            pipeline=[load, *pipeline]),
    }

    def make(cfg):
        part = SeededDataset(DATASETS.build(cfg), 0)

        def epoch():
            for index in range(len(part)):
                part[index]

        return epoch

    return {name: make(cfg) for name, cfg in sets.items()}


SETS = (
    ('CIFAR, one epoch of 2,000 images in batches of 128', cifar, 2000),
    ('Detection, 640 x 480 JPEG to 1333 x 800, 10 objects an image', detection,
     100),
    ('Faces, 112 x 112 JPEG', faces, 1000),
)


def run() -> List[Table]:
    tables = []
    for title, make, number in SETS:
        with tempfile.TemporaryDirectory() as tmp, \
                DefaultScope.overwrite_default_scope('mmpretrain'):
            seconds = side_by_side(make(Path(tmp)), repeats=5, warmup=1)
        first = next(iter(seconds.values()))
        rows = [[
            name,
            median([number / x for x in values], digits=0),
            ratio(values, first)
        ] for name, values in seconds.items()]
        tables.append(
            Table(
                title, ['way', 'images a second', 'time, of the first\'s'],
                rows, 'Five epochs each, in turn; medians with quartiles.'))
    return tables
