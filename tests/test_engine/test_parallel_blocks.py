# Copyright (c) sskd_mm authors. All rights reserved.
"""Stages of a phase ``blockwise`` in two processes against one run."""
import copy
import json
import signal
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from tool_process import ToolProcess

from sskd_mm.compat import load_checkpoint_file
from sskd_mm.engine import ParallelBlocks

ROOT = Path(__file__).parents[2]
RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
WIDE = dict(RESNET, base_channels=6, stem_channels=6)


@pytest.fixture
def blockwise_cfg(classifier_cfg, tmp_path):
    """Returns a function that makes a distillation of two epochs."""

    def make(work_dir, teacher=(RESNET, 32), batch_size=4, **options):
        cfg = classifier_cfg(tmp_path / work_dir, RESNET, 32)
        teacher = classifier_cfg(tmp_path, *teacher)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(0)
            network = MODELS.build(copy.deepcopy(teacher.model))
            network.init_weights()
        path = str(tmp_path / 'teacher.pth')
        torch.save(dict(state_dict=network.state_dict()), path)
        cfg.model = dict(
            type='StageByStageDistiller',
            stages=['auto', 'neck'],
            student=cfg.model,
            teacher=dict(cfg=teacher.model.to_dict(), checkpoint=path))
        cfg.log_level = 'INFO'
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.1)]
        cfg.train_dataloader.batch_size = batch_size
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            schedule='blockwise',
            mimic=dict(max_epochs=2),
            head=dict(max_epochs=1),
            accept_weak_teacher=True)
        cfg.merge_from_dict(options)
        return cfg

    return make


def _start(cfg, *args, processes=2):
    path = Path(cfg.work_dir).with_suffix('.py')
    cfg.dump(path)
    if processes > 1:
        args = ('--parallel-blocks', '--launcher', 'pytorch', *args)
    return ToolProcess(
        ROOT / 'tools/train.py', path, *args, processes=processes)


def _assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


def test_two_processes_equal_one_run(blockwise_cfg, tmp_path):
    serial = blockwise_cfg('serial', batch_size=8)
    _start(serial, processes=1).finish()
    expected = load_checkpoint_file(str(tmp_path / 'serial/epoch_2.pth'))
    cfg = blockwise_cfg('parallel')

    # One process of two is lost in the midst of its first block.
    process = _start(cfg)
    for line in process.stdout:
        if 'Phase 1 of 2' in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'parallel/blockwise/joined.pth').exists()
    output = _start(cfg, '--resume').finish()
    assert 'Phase 2 of 2: head' in output

    joined = load_checkpoint_file(
        str(tmp_path / 'parallel/blockwise/joined.pth'))
    _assert_equal(joined['state_dict'], expected['state_dict'])
    for helpers in ('adapters', 'feeders'):
        _assert_equal(joined['sskd'][helpers], expected['sskd'][helpers])
    # The head phase is as always, data-parallel.
    ours, theirs = (
        load_checkpoint_file(str(tmp_path / name / 'epoch_3.pth'))
        for name in ('parallel', 'serial'))
    torch.testing.assert_close(ours['state_dict'], theirs['state_dict'])
    ours, theirs = (
        json.loads((tmp_path / name / 'result.json').read_text())
        for name in ('parallel', 'serial'))
    assert [p['name'] for p in ours['phases']] == ['mimic/blockwise', 'head']
    assert list(ours['phases'][0].pop('blocks')) == [
        'layer1', 'layer2', 'layer3', 'layer4+neck'
    ]
    mine, other = ours['phases'][0], theirs['phases'][0]
    assert list(mine) == list(other)
    for key in ('epochs', 'loss_first', 'loss_last'):
        assert mine[key] == pytest.approx(other[key], rel=1e-5)
    assert mine['alignment'] == other['alignment']
    assert ours['teacher'] == theirs['teacher']


def test_placed_by_what_they_compute(blockwise_cfg, monkeypatch):
    cfg = blockwise_cfg('placed')
    cfg.launcher = 'slurm'
    for name, value in dict(PROCID=1, NTASKS=2, LOCALID=1).items():
        monkeypatch.setenv(f'SLURM_{name}', str(value))
    blocks = ParallelBlocks(cfg)
    assert blocks.rank == 1
    # The further back a tap lies, the further the teacher runs.
    costs = list(blocks.costs.values())
    assert costs == sorted(costs)
    first, second = (
        sum(blocks.costs[block] for block in own) for own in blocks.placed)
    assert sum(blocks.placed, []) != list(blocks.costs)
    assert sorted(sum(blocks.placed, [])) == sorted(blocks.costs)
    assert max(first, second) < 0.6 * sum(costs)
    # An earlier run is not mixed with this one.
    blocks.checkpoint(blocks.placed[1][0]).parent.mkdir(parents=True)
    blocks.checkpoint(blocks.placed[1][0]).touch()
    with pytest.raises(FileExistsError, match='Add --resume'):
        blocks.run()


def test_stages_that_train_each_other_stay_together(blockwise_cfg):
    """Of other widths, what the teacher's feature is mapped to is learned
    from the stage before."""
    cfg = blockwise_cfg('wide', (WIDE, 48))
    assert list(ParallelBlocks(cfg).costs) == [('layer1', 'layer2', 'layer3',
                                                'layer4', 'neck')]


def test_refused(blockwise_cfg):

    def refused(match, **options):
        with pytest.raises(ValueError, match=match):
            ParallelBlocks(blockwise_cfg('refused', **options))

    refused(
        "schedule='blockwise'.*Here it is 'mimic/joint'",
        train_cfg=dict(schedule='joint'))
    refused('clip_grad=None', optim_wrapper=dict(clip_grad=dict(max_norm=1)))
    refused(r'randomness=dict\(seed=0\)', randomness=dict(seed=None))
    with pytest.raises(ValueError, match=r"layer9'.*\['layer4', 'neck'\]"):
        Runner.from_cfg(
            blockwise_cfg('other', train_cfg=dict(block=['layer9']))).train()
