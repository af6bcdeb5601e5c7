# Copyright (c) sskd_mm authors. All rights reserved.
import json

import cv2
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

from sskd_mm.analysis import draw_detections, plot_losses, read_losses


def _log(folder, points):
    file = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, points)))


def test_losses_of_a_resumed_run_in_order(tmp_path):
    _log(tmp_path, [dict(iter=1, loss=3.), dict(iter=2, loss=2.)])
    again = tmp_path / '20260102_000000' / 'vis_data' / 'scalars.json'
    again.parent.mkdir(parents=True)
    again.write_text(
        json.dumps(dict(iter=2, loss=1.)) + '\n' +
        json.dumps({'coco/bbox_mAP': 0.1}))
    assert [(p['iter'], p['loss'])
            for p in read_losses(tmp_path)] == [(1, 3.), (2, 1.)]


def test_plot(tmp_path):
    _log(tmp_path / 'sskd', [
        dict(iter=1, loss=3., loss_mimic_layer1=3.),
        dict(iter=2, loss=2., loss_mimic_layer1=2.),
        dict(iter=3, loss=1., loss_cls=1.)
    ])
    _log(tmp_path / 'scratch', [dict(iter=1, loss=2.)])
    plot_losses(tmp_path / 'sskd', tmp_path / 'scratch', tmp_path / 'x.png')
    assert cv2.imread(str(tmp_path / 'x.png')).std() > 5


def test_detections(distill_cfg, tmp_path, root):
    cfg = distill_cfg(tmp_path)
    plain = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        model = MODELS.build(plain.model)
    file = tmp_path / 'x.png'
    draw_detections(dataset, dict(student=model), [0, 1], file)
    picture = cv2.imread(str(file))
    assert picture.shape == (2 * 384 + 3 * 6, 2 * 384 + 3 * 6, 3)
    # The truth is drawn in lime, where the boxes are.
    lime = (picture == (0, 255, 0)).all(-1)
    boxes = dataset[0]['data_samples'].gt_instances.bboxes.tensor * 3 + 6
    for x1, y1, x2, y2 in boxes.round().int().tolist():
        assert lime[y1 - 2:y1 + 3, x1:x2].any(0).mean() > .5
    assert not lime[384 + 12:].any()
