# Copyright (c) sskd_mm authors. All rights reserved.
"""A list of categories of the size that LVIS has, through all phases."""
import json

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

NUMBER = 1203


def test_all_phases(root, digits, distill_cfg, tmp_path, in_mmdet):
    # Ids with gaps, in an order of their own, as COCO's and LVIS's.
    ids = [3 * i + 7 for i in range(NUMBER)]
    names = [f'thing {(i * 100) % NUMBER}' for i in range(NUMBER)]
    assert len(set(names)) == NUMBER
    chosen = {i + 1: 120 * i + 5 for i in range(10)}
    files, occur = {}, {}
    for split in ('train', 'val'):
        path = digits / f'data/digits/annotations/instances_{split}.json'
        content = json.loads(path.read_text())
        content['categories'] = [
            dict(id=i, name=n) for i, n in zip(ids, names)
        ]
        for annotation in content['annotations']:
            annotation['category_id'] = ids[chosen[annotation['category_id']]]
        occur[split] = {
            ids.index(x['category_id'])
            for x in content['annotations']
        }
        files[split] = tmp_path / f'{split}.json'
        files[split].write_text(json.dumps(content))

    teacher = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r50_fpn_digits.py')
    teacher.model.roi_head.bbox_head.num_classes = NUMBER
    teacher.dump(tmp_path / 'teacher.py')
    torch.save(
        dict(state_dict=MODELS.build(teacher.model).state_dict()),
        tmp_path / 'teacher.pth')

    cfg = distill_cfg(tmp_path / 'run')
    cfg.model.teacher = dict(
        cfg=str(tmp_path / 'teacher.py'),
        checkpoint=str(tmp_path / 'teacher.pth'))
    cfg.model.stages = ['neck']
    cfg.model.inherit = ['neck', 'rpn_head', 'roi_head']
    cfg.model.student.roi_head.bbox_head.num_classes = NUMBER
    # An untrained detector finds nothing above the usual threshold.
    cfg.model.student.test_cfg.rcnn.score_thr = 1.2 / NUMBER
    for key in ('train', 'val', 'test'):
        dataset = cfg[f'{key}_dataloader'].dataset
        dataset.metainfo = dict(classes=names)
        dataset.ann_file = str(files['train' if key == 'train' else 'val'])
    for key in ('val_evaluator', 'test_evaluator'):
        cfg[key].update(ann_file=str(files['val']), classwise=True)
    runner = Runner.from_cfg(cfg)
    runner.train()

    # Labels are numbered as the file has them, and none is lost.
    labels = {
        int(label)
        for sample in runner.train_dataloader.dataset
        for label in sample['data_samples'].gt_instances.labels
    }
    assert labels == occur['train'] == set(chosen.values())
    metric = runner.val_loop.evaluator.metrics[0]
    assert metric.cat_ids == ids
    result = json.loads((tmp_path / 'run/result.json').read_text())
    precisions = {
        key: value
        for key, value in result['student'].items()
        if key.endswith('_precision')
    }
    assert len(precisions) == NUMBER
    # Defined for the classes that occur, and for no others.
    defined = {k for k, v in precisions.items() if v is not None and v == v}
    assert defined == {f'coco/{names[i]}_precision' for i in occur['val']}
    head = runner.model.student.roi_head.bbox_head
    assert head.fc_cls.out_features == NUMBER + 1
