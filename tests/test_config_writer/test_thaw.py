# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.config_writer import find_thawing


@pytest.mark.parametrize('backbone, thawing', [
    (dict(type='ResNet', depth=18, frozen_stages=1, norm_eval=True),
     dict(frozen_stages=-1, norm_eval=False)),
    (dict(type='ResNet', depth=18, frozen_stages=0, norm_eval=False),
     dict(frozen_stages=-1)),
    (dict(type='ResNet', depth=18, frozen_stages=-1, norm_eval=True),
     dict(norm_eval=False)),
    (dict(type='ResNet', depth=18, frozen_stages=-1, norm_eval=False), {}),
    # 0 freezes nothing, and -1 is refused.
    (dict(type='EfficientNet', arch='b0', frozen_stages=0), {}),
    (dict(type='EfficientNet', arch='b0', frozen_stages=3),
     dict(frozen_stages=0)),
])
def test_thawing(backbone, thawing):
    cfg = Config(
        dict(
            default_scope='mmdet', model=dict(type='FCOS',
                                              backbone=backbone)))
    student = nn.Module()
    with DefaultScope.overwrite_default_scope('mmdet'):
        student.backbone = MODELS.build(cfg.model.backbone)
    assert find_thawing(cfg, student) == thawing
