# Copyright (c) sskd_mm authors. All rights reserved.
"""Throughput of the evaluators.

COCO metrics of 1,000 images with 80 classes by pycocotools and
faster-coco-eval, which must agree; 10,000 faces searched among 100,000, in
blocks and as one matrix.
"""
import json
import sys
import tempfile
from pathlib import Path
from typing import List

import mmengine
import numpy as np
import torch
from mmdet.registry import METRICS
from side_by_side import median, ratio, side_by_side
from table import Table

import sskd_mm.compat.faster_coco_metric  # noqa: F401
from sskd_mm.evaluation import search_gallery

IMAGES, CLASSES = 1000, 80


def detections(root: Path) -> list:
    """Write random annotations to a file; return predictions near them."""
    rng = np.random.default_rng(0)
    images, annotations, samples = [], [], []
    for i in range(IMAGES):
        images.append(dict(id=i, file_name=f'{i}.jpg', width=640, height=480))
        number = int(rng.integers(1, 14))
        boxes = rng.uniform((0, 0, 8, 8), (400, 300, 240, 180), (number, 4))
        labels = rng.integers(0, CLASSES, number)
        for box, label in zip(boxes, labels):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=int(label) + 1,
                    bbox=box.tolist(),
                    area=float(box[2] * box[3]),
                    iscrowd=0))
        found = np.repeat(boxes, 4, 0)
        found = found + rng.normal(0, 4, found.shape)
        found[:, 2:] += found[:, :2]
        samples.append(
            dict(
                img_id=i,
                ori_shape=(480, 640),
                pred_instances=dict(
                    bboxes=torch.tensor(found, dtype=torch.float32),
                    labels=torch.tensor(np.repeat(labels, 4)),
                    scores=torch.rand(len(found)))))
    mmengine.dump(
        dict(
            images=images,
            annotations=annotations,
            categories=[
                dict(id=i + 1, name=f'class {i}') for i in range(CLASSES)
            ]), root / 'truth.json')
    return samples


def coco() -> Table:
    """Time COCO evaluation of boxes."""
    with tempfile.TemporaryDirectory() as tmp:
        samples = detections(Path(tmp))
        figures = {}

        def make(name):
            metric = METRICS.get(name)(
                ann_file=str(Path(tmp, 'truth.json')), metric='bbox')
            metric.dataset_meta = dict(
                classes=[f'class {i}' for i in range(CLASSES)])

            def evaluate():
                metric.process({}, samples)
                figures[name] = metric.evaluate(IMAGES)

            return evaluate

        seconds = side_by_side(
            {name: make(name)
             for name in ('CocoMetric', 'FasterCocoMetric')},
            repeats=5,
            warmup=1)
    for name, found in figures.items():
        # Both round to three digits.
        if any(
                abs(found[key] - value) > 1e-3
                for key, value in figures['CocoMetric'].items()):
            sys.exit(f'{name} has {found}, CocoMetric {figures["CocoMetric"]}')
    rows = [[
        name,
        median(values),
        ratio(values, seconds['CocoMetric']),
        json.dumps(figures[name]['coco/bbox_mAP'])
    ] for name, values in seconds.items()]
    return Table(
        f'COCO: {IMAGES:,} images, about 28 detections each, {CLASSES} '
        'classes', ['metric', 's', 'ratio', 'mAP'], rows,
        'Five evaluations each, in turn; medians with quartiles.')


def faces() -> Table:
    """Time identification in a large gallery."""
    generator = torch.Generator().manual_seed(0)
    probes, gallery = (
        torch.nn.functional.normalize(
            torch.randn(number, 512, generator=generator))
        for number in (10_000, 100_000))
    labels = np.arange(len(gallery))
    mates = labels[:len(probes)]

    def blocks():
        search_gallery(probes, mates, gallery, labels)

    def matrix():
        (probes @ gallery.T).topk(20)

    seconds = side_by_side(
        dict(blocks=blocks, matrix=matrix), repeats=3, warmup=0)
    texts = dict(
        blocks='search_gallery: blocks in float64, ranks and thresholds',
        matrix='one matrix product in float32 (4 GB), the 20 nearest')
    return Table(
        'Faces: 10,000 probes, a gallery of 100,000, 512 numbers each',
        ['way', 's', 'ratio'],
        [[texts[name],
          median(values),
          ratio(values, seconds['matrix'])]
         for name, values in seconds.items()],
        'Three searches each, in turn; medians with quartiles.')


def run() -> List[Table]:
    return [coco(), faces()]
