# Copyright (c) sskd_mm authors. All rights reserved.
"""What metrics keep of each image, however an evaluator is written."""
import json
import multiprocessing

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample

from sskd_mm.engine import BootstrapHook
from sskd_mm.evaluation import ImageScores

LABELS = torch.arange(11) % 5
#: Some scores are equal, as in half precision.
SCORES = (torch.rand(11, 5, generator=torch.manual_seed(0)) * 4).round() / 4


def samples(images):
    return [
        DataSample().set_pred_score(SCORES[i]).set_gt_label(LABELS[i])
        for i in images
    ]


class Run:
    """As much of a Runner as the hook asks for."""

    def __init__(self, folder, evaluator, scope='mmpretrain'):
        with DefaultScope.overwrite_default_scope(scope):
            self.val_evaluator = Runner.build_evaluator(None, evaluator)
        self.val_loop, self.work_dir = self, str(folder)

    def validate(self, batches):
        """Returns the metrics, and the resampled ones by name."""
        hook = BootstrapHook()
        hook.before_train(self)
        size = 0
        for batch in batches:
            self.val_evaluator.process(batch)
            size += len(batch)
        metrics = self.val_evaluator.evaluate(size)
        hook.after_train(self)
        with np.load(f'{self.work_dir}/bootstrap.npz') as file:
            return metrics, dict(zip(file['names'], file['scores']))


ACCURACY = dict(type='Accuracy', topk=(1, 3))


@pytest.mark.parametrize('evaluator', [
    ACCURACY,
    [dict(ACCURACY, type='mmpretrain.Accuracy')],
    dict(type='Evaluator', metrics=dict(ACCURACY, type=Accuracy)),
    dict(
        type=Evaluator,
        metrics=[dict(type='SingleLabelMetric', prefix='each'), ACCURACY]),
])
def test_any_evaluator(evaluator, tmp_path):
    plain = Run(tmp_path, evaluator).val_evaluator
    plain.process(samples(range(11)))
    metrics, resampled = Run(tmp_path, evaluator).validate(
        [samples(range(8)), samples(range(8, 11))])
    assert metrics == plain.evaluate(11)
    assert set(resampled) == {'accuracy/top1', 'accuracy/top3'}
    for name, scores in resampled.items():
        assert scores[0] == pytest.approx(metrics[name])
        assert 0 < scores.std() < 30


def test_another_validation_replaces_the_file(tmp_path):
    file = tmp_path / 'scores.npz'
    evaluator = Evaluator(ImageScores(Accuracy(), file))
    for image in (0, 7):
        evaluator.process(samples([image]))
        assert evaluator.evaluate(1) == {}
        right = SCORES[image].argmax() == LABELS[image]
        assert np.load(file)['accuracy/top1'] == [100. * right]


def validate_in(rank, folder):
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2)
    evaluator = Evaluator(
        ImageScores(Accuracy(collect_device='cpu'), folder / 'scores.npz'))
    # The sampler repeats the first image for the second process.
    mine = [*range(rank, 11, 2), 0][:6]
    for image in mine:
        evaluator.process(samples([image]))
    assert evaluator.evaluate(11) == {}
    dist.destroy_process_group()


def test_two_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context('fork')
    both = [
        context.Process(target=validate_in, args=(rank, tmp_path))
        for rank in (0, 1)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    scores = np.load(tmp_path / 'scores.npz')['accuracy/top1']
    # In the order of the data set, each image once.
    expected = [
        Accuracy.calculate(SCORES[i:i + 1], LABELS[i:i + 1])[0][0].item()
        for i in range(11)
    ]
    assert scores.tolist() == expected and len(set(expected)) == 2


@pytest.fixture
def boxes(tmp_path):
    """A COCO file, and predictions, of objects that are shifted a bit."""
    rng = np.random.default_rng(0)
    annotations, predictions = [], []
    for image in range(6):
        found = InstanceData()
        corners = rng.integers(0, 24, (4, 2))
        masks = np.zeros((4, 64, 64), bool)
        for (x, y), mask in zip(corners, masks):
            mask[y + 1:y + 27, x + 2:x + 39] = True
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=1 + len(annotations) % 2,
                    bbox=[int(x), int(y), 40, 30],
                    area=1000,  # small, but not a box of this size
                    segmentation=[[
                        int(v) for v in (x, y, x + 40, y, x + 40, y + 30, x,
                                         y + 30)
                    ]],
                    iscrowd=0))
        found.bboxes = torch.tensor(
            np.concatenate([corners, corners + (40, 33)], 1)).float()
        found.labels = torch.tensor([0, 1, 0, 0])
        found.scores = torch.tensor(rng.random(4))
        found.masks = torch.tensor(masks)
        predictions.append(
            dict(img_id=image, ori_shape=(64, 64), pred_instances=found))
    file = tmp_path / 'truth.json'
    file.write_text(
        json.dumps(
            dict(
                images=[dict(id=i, width=64, height=64) for i in range(6)],
                annotations=annotations,
                categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    return str(file), predictions


@pytest.mark.parametrize('kind', ['CocoMetric', 'mmdet.CocoMetric',
                                  CocoMetric])
def test_detections(kind, boxes, tmp_path):
    file, predictions = boxes
    run = Run(
        tmp_path,
        dict(
            type=kind, ann_file=file, metric=['bbox', 'segm'],
            classwise=True), 'mmdet')
    run.val_evaluator.dataset_meta = dict(classes=('a', 'b'))
    metrics, resampled = run.validate([predictions])
    assert set(resampled) == set(metrics) and len(metrics) == 14
    for name, scores in resampled.items():
        assert scores[0] == pytest.approx(metrics[name], abs=5.001e-4), name
    assert metrics['coco/bbox_mAP'] != metrics['coco/segm_mAP'] > 0
    assert resampled['coco/bbox_mAP'].std() > 0


def test_nothing_detected(boxes, tmp_path):
    file, predictions = boxes
    for each in predictions:
        each['pred_instances'] = each['pred_instances'][:0]
    run = Run(tmp_path, dict(type='CocoMetric', ann_file=file), 'mmdet')
    run.val_evaluator.dataset_meta = dict(classes=('a', 'b'))
    assert run.validate([predictions]) == ({}, {})
