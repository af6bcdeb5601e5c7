# Copyright (c) sskd_mm authors. All rights reserved.
"""All phases on a few images of real data, which lies beside the project."""
import json
import os
import os.path as osp

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

DATA = os.environ.get('SSKD_TEST_DATA')
SETS = {
    # teacher, student, data_root, validation file, number of classes
    'bccd': ('bccd', 'bccd', 'bccd/', 'val.json', 3),
    'tiny_coco': ('coco-small', 'coco_small', 'tiny_coco/',
                  'annotations/instances_val2017.json', 80),
}


@pytest.mark.skipif(not DATA, reason='SSKD_TEST_DATA is not set')
@pytest.mark.parametrize(
    'name', ['bccd',
             pytest.param('tiny_coco', marks=pytest.mark.slow)])
def test_all_phases(root, tmp_path, name):
    teacher, student, data_root, val_file, classes = SETS[name]
    teacher = root / f'configs/baselines/faster-rcnn_r50_fpn_{teacher}.py'
    checkpoint = tmp_path / 'teacher.pth'
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config.fromfile(teacher).model)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)

    cfg = Config.fromfile(root / f'configs/sskd/faster_rcnn_r18_{student}.py')
    cfg.model.teacher.checkpoint = str(checkpoint)
    # An untrained detector finds nothing above the usual threshold.
    cfg.model.student.test_cfg.rcnn.score_thr = 0.0
    cfg.work_dir = str(tmp_path)
    cfg.log_level = 'WARNING'
    folder = osp.join(DATA, data_root)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].dataset.data_root = folder
    cfg.train_dataloader.dataset.indices = 8
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].ann_file = folder + val_file
    cfg.train_cfg.evaluate_teacher = False
    cfg.train_cfg.mimic.max_epochs = 1
    cfg.train_cfg.head.max_epochs = 1
    cfg.train_cfg.phases = {}
    cfg.train_cfg.finetune = dict(max_epochs=1)

    runner = Runner.from_cfg(cfg)
    runner.train()
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [p['name'] for p in result['phases']][-2:] == ['head', 'finetune']
    assert 0 <= result['student']['coco/bbox_mAP'] <= 1
    # The real annotations were evaluated, every class and image of them.
    metric = runner.val_loop.evaluator.metrics[0]
    with open(folder + val_file) as file:
        truth = json.load(file)
    assert len(metric.cat_ids) == classes == len(truth['categories'])
    assert sorted(metric.img_ids) == sorted(i['id'] for i in truth['images'])
