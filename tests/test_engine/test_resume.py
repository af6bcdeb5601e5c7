# Copyright (c) sskd_mm authors. All rights reserved.
"""A run that is stopped anywhere and resumed equals one without a stop."""
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner
from tool_process import ToolProcess

from sskd_mm.compat import load_checkpoint_file

STUDENT = dict(
    type='ResNet_CIFAR',
    depth=18,
    base_channels=4,
    stem_channels=4,
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(1, ))
WIDER = dict(STUDENT, base_channels=6, stem_channels=6)


@HOOKS.register_module()
class StopAt(Hook):
    """Sends SIGTERM at an event of a phase, or kills the run there."""

    priority = 'HIGHEST'

    def __init__(self, event, phase, number, kill=False):
        self.place = phase, number
        self.kill = kill
        setattr(self, event, self._maybe_stop)

    def _maybe_stop(self, runner, batch_idx=None, **kwargs):
        state = runner.train_loop.state
        here = state.done if batch_idx is None else batch_idx
        if (state.phase.name, here) == self.place:
            if self.kill:
                raise RuntimeError('killed')
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module')
def make_cfg(classifier_cfg, tmp_path_factory):
    """Returns a function that makes the config of a distillation of two
    stages, with three iterations per epoch."""
    folder = tmp_path_factory.mktemp('resume')
    checkpoints = {}
    for width, backbone in ((8, STUDENT), (12, WIDER)):
        cfg = classifier_cfg(folder / 'teacher', backbone, width)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(0)
            model = MODELS.build(cfg.model)
            model.init_weights()
        checkpoints[width] = str(folder / f'teacher{width}.pth')
        torch.save(dict(state_dict=model.state_dict()), checkpoints[width])

    def make(work_dir, wider=False, seed=0, options=None, **train_cfg):
        cfg = classifier_cfg(work_dir, STUDENT, 8, size=16)
        teacher = classifier_cfg(work_dir, WIDER if wider else STUDENT,
                                 12 if wider else 8)
        cfg.model = dict(
            type='StageByStageDistiller',
            student=cfg.model,
            teacher=dict(
                cfg=teacher.model.to_dict(),
                checkpoint=checkpoints[12 if wider else 8]),
            inherit=[] if wider else ['head'])
        cfg.train_dataloader.dataset.pipeline.insert(
            1, dict(type='RandomFlip', prob=0.5))
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=2),
            head=dict(max_epochs=2),
            evaluate_teacher=False)
        cfg.train_cfg.update(train_cfg)
        cfg.randomness = dict(seed=seed)
        cfg.merge_from_dict(options or {})
        return cfg

    return make


def _outcome(work_dir):
    path = Path(work_dir, Path(work_dir, 'last_checkpoint').read_text())
    checkpoint = load_checkpoint_file(str(path))
    hub = checkpoint['message_hub']
    # MMEngine warns of any others.
    assert {*hub['resumed_keys']} <= {*hub['log_scalars'], *hub['runtime_info']
                                      }
    result = json.loads(Path(work_dir, 'result.json').read_text())
    for phase in result['phases']:
        del phase['seconds'], phase['peak_memory_mib']
    best = {
        file.name: load_checkpoint_file(str(file))['state_dict']
        for file in Path(work_dir).glob('best_*.pth')
    }
    return dict(best, last=checkpoint['state_dict']), dict(
        result, seed=None)


def _assert_same(work_dir, other):
    (weights, result), (expected, expected_result) = map(
        _outcome, (work_dir, other))
    assert weights.keys() == expected.keys()
    for name, tensors in expected.items():
        for key, value in tensors.items():
            assert torch.equal(weights[name][key], value), (name, key)
    assert result == expected_result


def _stop_and_resume(make, folder, stops, **settings):
    """Run, stop at each of these places, and finish."""
    for number, (*place, kill) in enumerate([*stops, (None, False)]):
        cfg = make(folder, **settings)
        cfg.resume = number > 0
        if place == [None]:
            Runner.from_cfg(cfg).train()
            return
        event, phase, where = place
        cfg.custom_hooks = [
            *cfg.get('custom_hooks', []),
            dict(
                type='StopAt',
                event=event,
                phase=phase,
                number=where,
                kill=kill)
        ]
        with pytest.raises(RuntimeError if kill else SystemExit):
            Runner.from_cfg(cfg).train()


EMA = dict(custom_hooks=[dict(type='EMAHook', momentum=0.3)])
ENDLESS = {
    'train_dataloader.sampler': dict(type='InfiniteSampler', _delete_=True)
}
REPEATED = dict(type='RepeatAugSampler', _delete_=True)
BEST = {'default_hooks.checkpoint.save_best': 'accuracy/top1'}


def _slow(**settings):
    return pytest.param(settings, marks=pytest.mark.slow)


@pytest.mark.parametrize('settings', [
    _slow(schedule=['joint', 'last'], wider=True),
    dict(schedule=['blockwise', 'last'], wider=True, options=BEST),
    _slow(schedule=['sequential', 'last'], options={
        **EMA,
        **BEST
    }),
    dict(
        schedule='cumulative',
        wider=True,
        mimic=dict(max_epochs=3, cached_passes=1)),
    dict(
        schedule='joint',
        mimic=dict(max_epochs=None, max_iters=7),
        head=dict(max_epochs=None, max_iters=5),
        val_interval=2,
        options={
            **BEST, 'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 2
        }),
    _slow(schedule='joint', options=ENDLESS),
    _slow(
        schedule='joint',
        mimic=dict(max_epochs=None, max_iters=7),
        head=dict(max_epochs=None, max_iters=5),
        val_interval=2,
        options=ENDLESS),
    _slow(
        schedule='joint',
        options={
            'train_dataloader.batch_size': 6,
            'train_dataloader.num_batch_per_epoch': 3
        }),
    _slow(schedule='joint', options={'train_dataloader.sampler': REPEATED}),
    dict(
        schedule='local',
        wider=True,
        options={
            **EMA, 'optim_wrapper.accumulative_counts': 2
        },
        finetune=dict(max_epochs=1)),
], ids=lambda s: '-'.join(map(str, s)))
def test_stopped_anywhere(make_cfg, tmp_path, settings):
    Runner.from_cfg(make_cfg(tmp_path / 'whole', **settings)).train()
    names = [
        p['name'] for p in json.loads(
            (tmp_path / 'whole/result.json').read_text())['phases']
    ]
    first, last = names[0], names[-1]
    places = [
        # Within an epoch, at the last iteration of one and of a phase, between
        # phases, in a validation and after training.
        ('after_train_iter', first, 1, False),
        ('after_train_iter', first, 2, False),
        ('before_phase', names[1], 0, True),
        ('after_train_iter', names[1], 0, False),
        ('after_train_iter', last, 2, False),
        ('after_val_iter', last, 0, False),
        ('after_val_epoch', last, 6, True),
    ]
    if 'max_iters' in settings.get('head', {}):
        places[-1] = ('after_val_epoch', last, 4, True)
    if 'finetune' in settings:
        places[-1] = ('after_val_epoch', last, 3, True)
    _stop_and_resume(make_cfg, tmp_path / 'stopped', places, **settings)
    _assert_same(tmp_path / 'stopped', tmp_path / 'whole')


@HOOKS.register_module()
class NoteImages(Hook):

    seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, **kwargs):
        self.seen += [(runner.epoch, sample.img_path)
                      for sample in data_batch['data_samples']]


def test_a_seed_that_was_drawn(make_cfg, tmp_path):
    """Without a seed in the config, a resumed epoch sees the remaining
    images."""
    settings = dict(
        seed=None,
        schedule='joint',
        head=dict(max_epochs=0),
        options=dict(custom_hooks=[dict(type='NoteImages')]))
    _stop_and_resume(
        make_cfg, tmp_path,
        [('after_train_iter', 'mimic/joint', 1, False),
         ('after_train_iter', 'mimic/joint', 2, False)], **settings)
    for epoch in range(2):
        images = [path for e, path in NoteImages.seen if e == epoch]
        assert len(images) == len(set(images)) == 20


def test_a_subclass_saves_and_resumes(make_cfg, tmp_path):
    """A user's subclass of the checkpoint hook works, too, with what it
    adds."""
    named = []

    @HOOKS.register_module(force=True)
    class Announcing(CheckpointHook):

        def _save_checkpoint(self, runner):
            named.append(runner.epoch + 1)
            super()._save_checkpoint(runner)

    settings = dict(
        options={
            'default_hooks.checkpoint': dict(type='Announcing', interval=1)
        })
    Runner.from_cfg(make_cfg(tmp_path / 'whole', **settings)).train()
    # Those at the ends of phases are saved by the engine.
    assert named == [1, 3, 5]
    _stop_and_resume(make_cfg, tmp_path / 'stopped',
                     [('after_train_iter', 'mimic/layer2', 1, False)],
                     **settings)
    _assert_same(tmp_path / 'stopped', tmp_path / 'whole')


#: Run by two processes: records the running statistics of the first stage in
#: each, and sends a signal to one of them.
LOOK = '''
import os, signal
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Look(Hook):
    priority = 'HIGHEST'

    def __init__(self, folder, stop_after=None):
        self.folder, self.stop_after = folder, stop_after

    def before_phase(self, runner, phase):
        student = runner.train_loop.distiller.student
        torch.save({k: v for k, v in student.named_buffers()
                    if 'layer1' in k},
                   f'{self.folder}/{runner.train_loop.phases.index(phase)}'
                   f'_rank{get_rank()}.pt')

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.stop_after and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
'''


def test_two_processes_with_statistics_of_their_own(make_cfg, tmp_path,
                                                    monkeypatch, root):
    """Frozen tensors are equal on both, and a run that one of them was told to
    stop within a phase resumes without a difference."""
    (tmp_path / 'look_hook.py').write_text(LOOK)
    monkeypatch.syspath_prepend(tmp_path)

    def train(name, *args, stop_after=None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        cfg = make_cfg(
            folder,
            wider=True,
            schedule='sequential',
            mimic=dict(max_epochs=None, max_iters=14))
        cfg.model.adapter = dict(
            type='ConvAdapter', norm_cfg=dict(type='BN'))
        cfg.train_dataloader.batch_size = 2
        cfg.custom_imports.imports.append('look_hook')
        cfg.custom_hooks = [
            dict(type='Look', folder=str(folder), stop_after=stop_after)
        ]
        cfg.dump(folder / 'config.py')
        return ToolProcess(
            root / 'tools/train.py',
            folder / 'config.py',
            '--launcher',
            'pytorch',
            *args,
            processes=2)

    train('whole').finish()
    buffers = [[
        torch.load(tmp_path / f'whole/{phase}_rank{rank}.pt')
        for rank in range(2)
    ] for phase in range(3)]
    for phase, (one, two) in enumerate(buffers):
        for key, value in one.items():
            assert torch.equal(value, two[key]), (phase, key)
            # Changed only by the phase that trains it.
            before = buffers[phase - 1][0][key]
            assert torch.equal(value, before) == (phase != 1) or phase == 0
    stopped = train('stopped', stop_after=4)
    output = stopped.stdout.read()
    assert stopped.wait() != 0
    # Both at the next tenth iteration.
    assert output.count('Saved ') == 2, output
    assert (tmp_path / 'stopped/iter_10.pth').exists()
    train('stopped', '--resume').finish()
    _assert_same(tmp_path / 'stopped', tmp_path / 'whole')


def _stopping(patience, **options):
    # No score is that much better than another.
    return dict(
        type='EarlyStoppingHook',
        monitor='accuracy/top1',
        min_delta=1000,
        patience=patience,
        **options)


@pytest.mark.parametrize('stops', [
    [],
    # Where the head phase stops early; in the validation that stops it; within
    # its patience, and that of the next phase.
    pytest.param([('before_phase', 'finetune', 0, True)],
                 marks=pytest.mark.slow),
    pytest.param([('after_val_iter', 'head', 0, False)],
                 marks=pytest.mark.slow),
    [('after_train_iter', 'head', 1, False),
     ('after_val_epoch', 'head', 9, True),
     ('after_train_iter', 'finetune', 2, False)],
], ids=['whole', 'border', 'validation', 'within'])
def test_early_stopping(make_cfg, tmp_path, stops):
    """It ends its own phase only; the next one has its full patience."""
    settings = dict(
        schedule='joint',
        head=dict(max_epochs=5),
        finetune=dict(max_epochs=5),
        wider=True,
        options=dict(custom_hooks=[_stopping(2)]))
    whole = tmp_path / 'whole'
    Runner.from_cfg(make_cfg(whole, **settings)).train()
    result = json.loads((whole / 'result.json').read_text())
    epochs = {p['name']: p['epochs'] for p in result['phases']}
    # The first score, and two that are no better.
    assert epochs == {'mimic/joint': 2, 'head': 3, 'finetune': 3}
    assert [e['epoch'] for e in result['student_curve']] == [
        3, 4, 5, 8, 9, 10]
    if stops:
        _stop_and_resume(make_cfg, tmp_path / 'stopped', stops, **settings)
        _assert_same(tmp_path / 'stopped', whole)


def test_early_stopping_by_iterations(make_cfg, tmp_path):
    settings = dict(
        schedule='joint',
        head=dict(max_epochs=None, max_iters=20),
        finetune=dict(max_epochs=1),
        val_interval=2,
        wider=True,
        options={
            'custom_hooks': [_stopping(2)],
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 2
        })
    whole = tmp_path / 'whole'
    Runner.from_cfg(make_cfg(whole, **settings)).train()
    result = json.loads((whole / 'result.json').read_text())
    assert [p['iterations'] for p in result['phases']] == [6, 6, 3]
    stops = [('after_train_iter', 'head', 2, False),
             ('after_val_epoch', 'head', 6, True),
             ('before_phase', 'finetune', 0, True)]
    _stop_and_resume(make_cfg, tmp_path / 'stopped', stops, **settings)
    _assert_same(tmp_path / 'stopped', whole)
