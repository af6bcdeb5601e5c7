# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.runner import Runner
from torch._dynamo.utils import counters

from sskd_mm.compat import load_checkpoint_file


@pytest.fixture(scope='module')
def cfg_of(distill_cfg, tmp_path_factory):

    def make(name, **options):
        cfg = distill_cfg(tmp_path_factory.mktemp(name))
        cfg.model.stages = ['backbone.layer1', 'backbone.layer2', 'neck']
        cfg.train_dataloader.batch_size = 4
        cfg.train_dataloader.dataset.indices = 8
        cfg.train_cfg.evaluate_teacher = False
        cfg.train_cfg.phases = {'mimic/layer1': dict(max_epochs=0)}
        for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
            cfg[key] = None
        cfg.merge_from_dict(options)
        return cfg

    return make


@pytest.fixture(scope='module')
def plain(cfg_of):
    cfg = cfg_of('plain')
    Runner.from_cfg(cfg).train()
    return cfg


def _assert_same_end(ours, theirs):
    ours, theirs = (
        load_checkpoint_file(f'{cfg.work_dir}/epoch_3.pth')['state_dict']
        for cfg in (ours, theirs))
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        torch.testing.assert_close(
            value, theirs[key], rtol=1e-4, atol=1e-6, msg=key)


@pytest.fixture
def compiler():
    """Resets the compiler for each test."""
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(cache_size_limit=1):
        yield


def test_same_weights_as_not_compiled(cfg_of, plain, compiler):
    cfg = cfg_of('compiled', **{'model.compile.backend': 'aot_eager'})
    Runner.from_cfg(cfg).train()
    _assert_same_end(cfg, plain)
    # Whole stages of both networks, without a graph break and within the
    # limit: the teacher's three, the student's layer2 and neck both training
    # and frozen, and its layer1, which never trains.
    assert not counters['graph_break']
    assert counters['stats']['unique_graphs'] == 8
    # Resumed after mimicking, without a teacher.
    again = cfg.copy()
    again.resume = True
    again.load_from = f'{cfg.work_dir}/epoch_2.pth'
    again.work_dir = f'{cfg.work_dir}_again'
    Runner.from_cfg(again).train()
    _assert_same_end(again, plain)


def test_a_tap_within_a_tap_is_not_hidden(cfg_of, compiler):
    cfg = cfg_of('nested', **{'model.compile.backend': 'eager'})
    cfg.model.stages = ['backbone.layer1.0', 'backbone.layer1']
    runner = Runner.from_cfg(cfg)
    distiller = runner.build_train_loop(cfg.train_cfg | dict(
        phases={}, dataloader=cfg.train_dataloader)).distiller
    distiller.compile_stages()
    layer = distiller.student.backbone.layer1
    assert 'forward' in vars(layer[0]) and 'forward' not in vars(layer)
