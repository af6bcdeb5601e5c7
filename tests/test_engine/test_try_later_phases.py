# Copyright (c) sskd_mm authors. All rights reserved.
"""What a later phase or the validation needs is tried before mimicking."""
import copy
import json
import random

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.engine.hooks import phase_hook

TRIED = 'Tried before mimicking'


def _edit(cfg, key, change):
    """Give a loader, or the evaluator, a changed copy of its file."""
    if key == 'val_evaluator':
        path, holder = cfg.val_evaluator.ann_file, cfg.val_evaluator
    else:
        holder = cfg[key].dataset
        path = holder.data_root + holder.ann_file
    with open(path) as file:
        content = json.load(file)
    change(content)
    # Beside the work directory, which it would be compared in.
    new = f'{cfg.work_dir}_{key}.json'
    with open(new, 'w') as file:
        json.dump(content, file)
    holder.ann_file = new


def _drop(field, number=slice(None)):

    def change(content):
        for annotation in content['annotations'][number]:
            del annotation[field]

    return change


def _assert_refused(cfg, message):
    with pytest.raises(ValueError, match=message) as error:
        Runner.from_cfg(cfg).train()
    work_dir = cfg.work_dir
    assert not list(__import__('pathlib').Path(work_dir).glob('*.pth'))
    return error


@pytest.mark.parametrize('field', ['area', 'iscrowd', 'bbox'])
@pytest.mark.parametrize('evaluate_teacher', [False, True])
def test_evaluator_lacks_a_field(distill_cfg, tmp_path, field,
                                 evaluate_teacher):
    """Of one annotation, anywhere in its file."""
    cfg = distill_cfg(tmp_path / 'run')
    cfg.train_cfg.evaluate_teacher = evaluate_teacher
    _edit(cfg, 'val_evaluator', _drop(field, slice(-1, None)))
    _assert_refused(
        cfg, f"val_evaluator: CocoMetric cannot be .*KeyError: '{field}'"
        f'.*{TRIED}')
