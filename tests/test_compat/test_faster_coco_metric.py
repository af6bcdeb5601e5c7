# Copyright (c) sskd_mm authors. All rights reserved.
"""All ways to compute COCO's figures say the same."""
import json

import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS
from pycocotools import mask as mask_utils

from sskd_mm.datasets.digits_detection import CLASSES


def test_equal_figures(digits):
    """pycocotools, our metric for mmdet 3.3, and mmdet's own where it has one.
    """
    pytest.importorskip('faster_coco_eval')
    from sskd_mm.compat.faster_coco_metric import FasterCocoMetric
    path = digits / 'data/digits/annotations/instances_val.json'
    content = json.loads(path.read_text())
    torch.manual_seed(0)
    samples = []
    for image in content['images']:
        truth = [
            x for x in content['annotations'] if x['image_id'] == image['id']
        ] * 3
        boxes = torch.tensor([x['bbox'] for x in truth], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([x['category_id'] - 1 for x in truth])
        wrong = torch.rand(len(truth)) < 0.2
        masks = [
            torch.from_numpy(mask_utils.decode(x['segmentation'])).bool()
            for x in truth
        ]
        samples.append(
            dict(
                img_id=image['id'],
                ori_shape=(image['height'], image['width']),
                pred_instances=dict(
                    bboxes=boxes + 2 * torch.randn(len(truth), 4),
                    labels=torch.where(wrong, 9 - labels, labels),
                    scores=torch.rand(len(truth)),
                    masks=torch.stack([
                        torch.roll(mask, i % 3 - 1, 0)
                        for i, mask in enumerate(masks)
                    ]))))
    figures = []
    for metric_type in (CocoMetric, FasterCocoMetric,
                        METRICS.get('FasterCocoMetric')):
        metric = metric_type(
            ann_file=str(path), metric=['bbox', 'segm'], classwise=True)
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, samples)
        figures.append(metric.evaluate(len(samples)))
    for others in figures[1:]:
        assert figures[0] == pytest.approx(others, nan_ok=True)
    for kind in ('bbox', 'segm'):
        assert 0.1 < figures[0][f'coco/{kind}_mAP'] < 0.9
