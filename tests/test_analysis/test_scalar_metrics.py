# Copyright (c) sskd_mm authors. All rights reserved.
import json

import numpy as np
import pytest
import torch
from mmpretrain.evaluation import ConfusionMatrix, SingleLabelMetric
from mmpretrain.structures import DataSample

from sskd_mm.analysis import build_test_loader, measure_metrics, scalar_metrics


def test_scalars():
    metrics = {
        'int': 1,
        'tensor': torch.tensor(2.),
        'one': torch.tensor([3], dtype=torch.int64),
        'matrix': torch.eye(3),
        'none of a matrix': torch.zeros(0),
        'numpy': np.float32(4.),
        'array': np.array([[5.]]),
        'row': np.arange(3),
        'list': [1, 2],
        'text': 'text',
        'dict': dict(a=1),
        'nothing': None,
        'nan': float('nan'),
    }
    found = scalar_metrics(metrics)
    assert list(found) == ['int', 'tensor', 'one', 'numpy', 'array', 'nan']
    assert [*found.values()][:-1] == [1., 2., 3., 4., 5.]
    assert all(type(x) is float for x in found.values())
    json.dumps(found)


@pytest.mark.parametrize('metric', [
    ConfusionMatrix(num_classes=3),
    SingleLabelMetric(items=('precision', ), average=None)
])
def test_metrics_of_mmpretrain(metric):
    samples = [
        DataSample().set_pred_label(i % 2).set_gt_label(i).set_pred_score(
            torch.eye(3)[i]).to_dict() for i in range(3)
    ]
    metric.process(None, samples)
    metrics = metric.evaluate(3)
    assert metrics and scalar_metrics(metrics) == {}


def test_measured_beside_a_matrix(classifier_cfg, tmp_path):
    cfg = classifier_cfg(tmp_path, dict(type='ResNet_CIFAR', depth=18), 512)
    cfg.val_evaluator = [
        dict(type='ConfusionMatrix'),
        dict(type='Accuracy', topk=(1, ))
    ]
    loader = build_test_loader(cfg)

    def predict(batch):
        return [
            sample.set_pred_label(3).set_pred_score(torch.eye(10)[3]).to_dict()
            for sample in batch['data_samples']
        ]

    result, = measure_metrics(cfg, dict(a=predict), loader, 10).values()
    assert result.metrics == {'accuracy/top1': 10.}
    assert result.classes['3'] == 100.
