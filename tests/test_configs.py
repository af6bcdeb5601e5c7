# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

CONFIGS = sorted(
    path for path in (Path(__file__).parent.parent / 'configs').rglob('*.py')
    if '_base_' not in path.parts)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: f'{p.parent.name}/'
                         f'{p.stem}')
def test_every_config_builds(path):
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        if path.parent.name == 'sskd':
            name = path.name.replace('_paper', '')
            plain = path.parent.parent / 'baselines' / name
            student = MODELS.build(Config.fromfile(plain).model)
            assert list(model.state_dict()) == list(student.state_dict()), (
                'its checkpoints must load in the student\'s plain config')
