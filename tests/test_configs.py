# Copyright (c) sskd_mm authors. All rights reserved.
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from plain_config import plain_config
from shipped_schedule import check_schedule

ROOT = Path(__file__).parent.parent / 'configs'
# Those of classifiers have tests of their own.
CONFIGS = sorted(path for path in ROOT.rglob('*.py')
                 if path.parent.name in ('baselines', 'sskd', 'ablations'))
DISTILLATIONS = [path for path in CONFIGS if 'sskd' in path.parts]


def _name(path):
    return f'{path.parent.name}/{path.stem}'


def _plain(path):
    """The config of the student alone."""
    return Config.fromfile(plain_config(path))


def _build(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize(
    'path', sorted({*CONFIGS} - {*DISTILLATIONS}), ids=_name)
def test_every_plain_config_builds(path):
    _build(Config.fromfile(path))


@pytest.mark.parametrize('path', DISTILLATIONS, ids=_name)
def test_every_distillation_has_a_plan(path, digits, tmp_path, monkeypatch):
    """With images of the embedded set, whatever its own data are."""
    cfg = Config.fromfile(path)
    check_schedule(path.stem, cfg)
    data = Config.fromfile(ROOT / '_base_/datasets/digits_detection.py')
    cfg.train_dataloader = data.train_dataloader
    cfg.train_dataloader.dataset.data_root = f'{digits}/data/digits/'
    for key in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{key}_{part}'] = None
    cfg.work_dir = str(tmp_path)
    # The plan does not depend on the teachers' weights.
    monkeypatch.setattr('sskd_mm.distillers.teacher.load_teacher_weights',
                        lambda *args: None)
    # Their classes are others.
    monkeypatch.setattr(
        'sskd_mm.engine.check_phases.check_num_classes',
        lambda *args: None)
    runner = Runner.from_cfg(cfg)
    phases = runner.build_train_loop(cfg.train_cfg).phases
    assert phases[0].is_mimic
    assert [p.name for p in phases if not p.is_mimic][0] == 'head'
    plain = _plain(path)
    assert list(runner.model.state_dict()) == list(
        _build(plain).state_dict()), (
            'its checkpoints must load in the student\'s plain config')
    if '_coco' in path.stem and 'small' not in path.stem:
        # As much training as the student has by itself.
        assert phases[-1].end == plain.train_cfg.max_epochs
    for phase in phases:
        runner.build_optim_wrapper(phase.optim_wrapper)
