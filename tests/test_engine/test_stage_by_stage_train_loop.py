# Copyright (c) sskd_mm authors. All rights reserved.
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS, MODELS, DefaultScope
from mmengine.runner import Runner, load_checkpoint

from sskd_mm.analysis import dry_run
from sskd_mm.compat import load_checkpoint_file

PHASES = [
    'mimic/layer1', 'mimic/layer2', 'mimic/layer3', 'mimic/layer4',
    'mimic/neck', 'head'
]


class SnapshotHook(Hook):
    """Records independently of sskd_mm what each phase does to the student."""

    def __init__(self):
        self.phases, self.groups, self.lrs = [], [], []

    def before_train_epoch(self, runner):
        student = runner.train_loop.distiller.student
        self.before = {k: v.clone() for k, v in student.state_dict().items()}
        self.groups.append({
            id(p)
            for g in runner.optim_wrapper.optimizer.param_groups
            for p in g['params']
        })
        self.lrs.append([])

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.lrs[-1].append(runner.optim_wrapper.get_lr()['lr'][0])

    def after_train_epoch(self, runner):
        after = runner.train_loop.distiller.student.state_dict()
        changed = {
            k
            for k, v in after.items() if not torch.equal(v, self.before[k])
        }
        self.phases.append((runner.train_loop.phase.name, changed))


def _train(cfg):
    runner = Runner.from_cfg(cfg)
    snapshot = SnapshotHook()
    runner.register_hook(snapshot)
    runner.train()
    return runner, snapshot


def _stop_and_resume(cfg, stop_after):
    """Train until the end of this epoch, then resume."""

    @HOOKS.register_module(force=True)
    class StopHook(Hook):
        priority = 'LOWEST'

        def after_train_epoch(self, runner):
            if runner.epoch + 1 == stop_after < runner.train_loop.phase.end:
                raise KeyboardInterrupt

        def after_phase(self, runner, phase):
            if runner.epoch == stop_after:
                raise KeyboardInterrupt

    cfg.custom_hooks = [dict(type='StopHook')]
    with pytest.raises(KeyboardInterrupt):
        Runner.from_cfg(cfg).train()
    cfg.custom_hooks = []
    cfg.resume = True
    return _train(cfg)


def _assert_same_student(runner, other):
    expected = other.train_loop.distiller.student.state_dict()
    for key, value in runner.train_loop.distiller.student.state_dict().items():
        assert torch.equal(value, expected[key]), key


@pytest.fixture(scope='module')
def run(distill_cfg, tmp_path_factory):
    """One run of all phases, of at most two epochs each."""
    cfg = distill_cfg(
        tmp_path_factory.mktemp('run'),
        train_cfg=dict(
            mimic=dict(max_epochs=1),
            head=dict(max_epochs=2),
            phases={
                'mimic/layer2':
                dict(
                    max_epochs=2,
                    optim_wrapper=dict(optimizer=dict(lr=0.005)),
                    param_scheduler=[])
            }))
    return (cfg, *_train(cfg))


def test_phases_in_order(run):
    _, _, snapshot = run
    names = [name for name, _ in snapshot.phases]
    assert names == [
        'mimic/layer1', 'mimic/layer2', 'mimic/layer2', 'mimic/layer3',
        'mimic/layer4', 'mimic/neck', 'head', 'head'
    ]


def test_what_a_phase_changes(run):
    _, _, snapshot = run
    prefixes = {
        'mimic/layer1': ('backbone.conv1', 'backbone.bn1', 'backbone.layer1'),
        'mimic/layer2': ('backbone.layer2', ),
        'mimic/layer3': ('backbone.layer3', ),
        'mimic/layer4': ('backbone.layer4', ),
        'mimic/neck': ('neck', ),
        'head': ('rpn_head', 'roi_head'),
    }
    for phase, changed in snapshot.phases:
        assert all(k.startswith(prefixes[phase]) for k in changed), phase
        for prefix in prefixes[phase]:
            assert any(k.startswith(prefix) for k in changed), (phase, prefix)
    # Batch norm statistics change with their stage.
    assert 'backbone.layer1.0.bn1.running_mean' in snapshot.phases[0][1]


def test_optimizer_holds_what_trains_and_no_more(run):
    _, runner, snapshot = run
    partition = runner.train_loop.distiller.partition
    params = dict(partition.student.named_parameters())
    for (phase, _), group in zip(snapshot.phases, snapshot.groups):
        stage = phase.split('/')[-1]
        own = {id(params[name]) for name in partition.params[stage]}
        assert own <= group
        others = {id(p) for p in params.values()} - own
        assert not group & others


def test_settings_of_one_phase(run):
    cfg, _, snapshot = run
    lrs = dict(zip([name for name, _ in snapshot.phases], snapshot.lrs))
    assert set(lrs['mimic/layer2']) == {0.005}, 'own lr, no schedule'
    # The shared schedule (warm-up) restarts in each phase.
    assert lrs['mimic/layer1'] == lrs['mimic/layer4'] == lrs['mimic/neck']
    assert lrs['mimic/layer1'][0] == pytest.approx(
        0.01 * cfg.optim_wrapper.optimizer.lr)


def test_result(run):
    cfg, runner, _ = run
    result = json.loads((Path(cfg.work_dir) / 'result.json').read_text())
    assert [p['name'] for p in result['phases']] == PHASES
    assert [p['epochs'] for p in result['phases']] == [1, 2, 1, 1, 1, 2]
    for phase in result['phases']:
        assert phase['seconds'] > 0 and phase['peak_memory_mib'] > 0
        assert phase['loss_first'] > 0
        if phase['name'] != 'head':
            tap = phase['name'].split('/')[1]
            assert set(phase['alignment'][tap]) == {
                'relative_l2', 'cosine', 'cka'
            }
    assert result['phases'][1]['loss_last'] < result['phases'][1]['loss_first']
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_50'} <= set(result['teacher'])
    assert result['student']['epoch'] == 8
    assert len(result['student_curve']) == 2
    assert result['inherited_head'] is None, 'it starts from nothing'
    assert result['seed'] == 0 and result['versions']['torch']


def test_every_checkpoint_is_the_plain_student_s(run, root):
    cfg, _, _ = run
    plain = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    files = sorted(Path(cfg.work_dir).glob('*.pth'))
    assert len(files) == 8
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(plain.model)
    for file in files:
        checkpoint = load_checkpoint_file(str(file))
        assert list(checkpoint['state_dict']) == list(model.state_dict())
        model.load_state_dict(checkpoint['state_dict'], strict=True)
        load_checkpoint(model, str(file), strict=True)
        assert checkpoint['sskd']['phase'] in PHASES


def test_same_metrics_in_the_plain_config(run, root):
    cfg, runner, _ = run
    plain = Config.fromfile(
        root / 'configs/baselines/faster-rcnn_r18_fpn_digits.py')
    plain.test_dataloader = cfg.test_dataloader
    plain.test_evaluator = cfg.test_evaluator
    plain.work_dir = cfg.work_dir + '/plain'
    # The student of a random teacher finds nothing above the usual threshold.
    metrics = []
    for config in (cfg, plain):
        config = config.copy()
        model = config.model.get('student', config.model)
        model.test_cfg.rcnn.score_thr = 0.0
        config.load_from = cfg.work_dir + '/epoch_8.pth'
        config.work_dir += '/test'
        metrics.append(Runner.from_cfg(config).test())
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize('stop_after', [
    pytest.param(2, marks=pytest.mark.slow), 3,
    pytest.param(7, marks=pytest.mark.slow)
])
def test_resumed_run_ends_with_the_same_weights(run, distill_cfg, tmp_path,
                                                stop_after):
    """Within a phase, between phases, and in the head phase."""
    cfg, runner, _ = run
    again = cfg.copy()
    again.work_dir = str(tmp_path)
    resumed, snapshot = _stop_and_resume(again, stop_after)
    assert len(snapshot.phases) == 8 - stop_after
    _assert_same_student(resumed, runner)
    ours, theirs = (json.loads(
        (Path(work_dir) / 'result.json').read_text())
                    for work_dir in (tmp_path, cfg.work_dir))
    assert [p['name'] for p in ours['phases']] == PHASES
    assert ours['student'] == theirs['student']
    for a, b in zip(ours['phases'], theirs['phases']):
        assert a['loss_last'] == pytest.approx(b['loss_last'], rel=1e-6)
        assert a.get('alignment') == b.get('alignment')


@pytest.mark.parametrize('stop_after',
                         [2, pytest.param(3, marks=pytest.mark.slow)])
def test_finetune_resumes(distill_cfg, tmp_path, stop_after):
    """Before it, and within it."""

    def config(name):
        cfg = distill_cfg(
            tmp_path / name, train_cfg=dict(finetune=dict(max_epochs=2)))
        cfg.model.stages = ['neck']
        cfg.train_dataloader.dataset.indices = 16
        cfg.train_cfg.evaluate_teacher = False
        return cfg

    whole, _ = _train(config('whole'))
    resumed, snapshot = _stop_and_resume(config('stopped'), stop_after)
    assert {name for name, _ in snapshot.phases} == {'finetune'}
    _assert_same_student(resumed, whole)


@pytest.mark.parametrize('schedule, names', [
    ('cumulative', PHASES),
    ('local', ['mimic/local', 'head']),
    ('blockwise', ['mimic/blockwise', 'head']),
    ('joint', ['mimic/joint', 'head']),
    (['local', 'joint'], ['mimic/local', 'mimic/joint', 'head']),
])
def test_schedules(distill_cfg, tmp_path, schedule, names):
    cfg = distill_cfg(tmp_path)
    cfg.train_cfg.schedule = schedule
    cfg.train_dataloader.dataset.indices = 8
    runner, snapshot = _train(cfg)
    assert [name for name, _ in snapshot.phases] == names
    for name, changed in snapshot.phases:
        heads = {k for k in changed if k.startswith(('rpn', 'roi'))}
        assert (heads == changed) == (name == 'head')


def test_frozen_tensor_that_changes_is_caught(distill_cfg, tmp_path):
    """The check also covers hooks of other projects."""

    @HOOKS.register_module(force=True)
    class MeddlingHook(Hook):

        def after_train_iter(self, runner, *args, **kwargs):
            model = runner.train_loop.distiller.student
            with torch.no_grad():
                model.backbone.layer3[0].bn1.running_var.mul_(1.001)

    cfg = distill_cfg(tmp_path)
    cfg.train_dataloader.dataset.indices = 8
    cfg.custom_hooks = [dict(type='MeddlingHook')]
    with pytest.raises(RuntimeError, match="Phase 'mimic/layer1' changed 1 "
                       'frozen tensors.*backbone.layer3.0.bn1.running_var'):
        Runner.from_cfg(cfg).train()


def test_finetune_trains_everything(distill_cfg, tmp_path):
    cfg = distill_cfg(
        tmp_path,
        train_cfg=dict(
            finetune=dict(
                max_epochs=1, optim_wrapper=dict(optimizer=dict(lr=5e-4)))))
    cfg.train_dataloader.dataset.indices = 8
    runner, snapshot = _train(cfg)
    assert [name for name, _ in snapshot.phases] == PHASES + ['finetune']
    _, changed = snapshot.phases[-1]
    student = runner.train_loop.distiller.student
    assert {name for name, _ in student.named_parameters()} <= changed
    # The head phase's schedule again, scaled.
    assert snapshot.lrs[-1][0] / snapshot.lrs[-2][0] == pytest.approx(
        5e-4 / cfg.optim_wrapper.optimizer.lr)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [e['epoch'] for e in result['student_curve']] == [6, 7]


@METRICS.register_module(force=True)
class SumOfScores(BaseMetric):
    """Varies with every weight, unlike an untrained detector's mAP of 0."""

    def process(self, data_batch, data_samples):
        self.results += [
            float(x['pred_instances']['scores'].sum()) for x in data_samples
        ]

    def compute_metrics(self, results):
        return dict(scores=sum(results))


@pytest.mark.parametrize('stopped', [False, True])
def test_what_an_inherited_head_scores(distill_cfg, tmp_path, stopped):
    """The student's score if its head does not train."""
    cfg = distill_cfg(
        tmp_path,
        train_cfg=dict(
            head=dict(
                max_epochs=1,
                optim_wrapper=dict(optimizer=dict(lr=0., weight_decay=0.)))))
    cfg.model.stages = ['neck']
    cfg.model.inherit = ['rpn_head', 'roi_head']
    cfg.model.student.test_cfg.rcnn.score_thr = 0.0
    cfg.train_dataloader.dataset.indices = 8
    cfg.train_cfg.evaluate_teacher = False
    cfg.val_evaluator = dict(type='SumOfScores')
    _stop_and_resume(cfg, 1) if stopped else _train(cfg)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['inherited_head']['scores'] > 0
    assert result['student']['epoch'] == 2
    assert result['inherited_head'].items() <= result['student'].items()
    assert len(result['student_curve']) == 1


@pytest.mark.parametrize('train_cfg, message', [
    (dict(phases={'mimic/layer5': dict(max_epochs=1)}),
     "no phase 'mimic/layer5'.*Did you mean 'mimic/layer4'"),
    (dict(mimic=dict(max_epoch=1, _delete_=True)),
     "phase 'mimic/layer1' has the key 'max_epoch'.*mean 'max_epochs'"),
    (dict(mimic=dict(cached_passes=1, _delete_=True)), 'needs max_epochs'),
    (dict(finetunes=dict(max_epochs=1)),
     "train_cfg has the key 'finetunes'.*Did you mean 'finetune'"),
    (dict(max_epochs=12), 'train_cfg has max_epochs.*_delete_=True'),
    (dict(head=dict(max_epochs=1.5)), 'whole number'),
    (dict(mimic=dict(max_epochs=0), head=dict(max_epochs=0)), 'every phase'),
    (dict(schedule='stepwise'), "schedule='stepwise' is not one of"),
])
def test_errors_come_before_training(distill_cfg, tmp_path, train_cfg,
                                     message):
    cfg = distill_cfg(tmp_path, train_cfg=train_cfg)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('head, message', [
    (dict(optim_wrapper=dict(optimizer=dict(momentun=0.9))),
     "optim_wrapper of the phase 'head'.*'momentun'"),
    (dict(optim_wrapper=dict(optimizer=dict(type='AdamV'))),
     "optim_wrapper of the phase 'head'.*AdamV"),
    (dict(param_scheduler=dict(type='MultiStepLR', step=8)),
     "param_scheduler of the phase 'head'.*'step'"),
])
def test_optimizers_are_tried_before_training(distill_cfg, tmp_path, head,
                                              message):
    cfg = distill_cfg(tmp_path, train_cfg=dict(head=head))
    with pytest.raises(ValueError, match=message):
        dry_run(cfg)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()
    assert not list(tmp_path.glob('*.pth'))


def test_an_optimizer_of_another_type_replaces_the_config_s(
        distill_cfg, tmp_path):
    cfg = distill_cfg(
        tmp_path,
        train_cfg=dict(
            head=dict(
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=1e-3, momentum=0.9),
                    clip_grad=dict(max_norm=35)))))
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    cfg.train_cfg.evaluate_teacher = False
    cfg.train_dataloader.dataset.indices = 8
    runner, _ = _train(cfg)
    wrapper = runner.optim_wrapper
    assert type(wrapper.optimizer) is torch.optim.SGD
    assert wrapper.optimizer.defaults['momentum'] == 0.9
    assert wrapper.optimizer.defaults['weight_decay'] == 0  # torch's own
    assert wrapper.clip_grad_kwargs == dict(max_norm=35)


def test_other_models_are_refused(distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.model = cfg.model.student
    with pytest.raises(TypeError, match='the model is a FasterRCNN'):
        Runner.from_cfg(cfg).train()


def test_resume_with_other_phases_is_refused(run, tmp_path):
    cfg, _, _ = run
    again = cfg.copy()
    again.work_dir = str(tmp_path)
    again.load_from = f'{cfg.work_dir}/epoch_4.pth'
    again.resume = True
    again.train_cfg.phases = {}
    with pytest.raises(ValueError, match='saved after epoch 4 in the phase '
                       "'mimic/layer3', where this config has "
                       "'mimic/layer4'"):
        Runner.from_cfg(again).train()


def test_border_checkpoint_is_saved_whatever_the_interval(
        distill_cfg, tmp_path):
    cfg = distill_cfg(tmp_path)
    cfg.train_dataloader.dataset.indices = 8
    cfg.train_cfg.mimic.max_epochs = 2
    cfg.default_hooks.checkpoint.interval = 100
    Runner.from_cfg(cfg).train()
    names = sorted(
        int(p.stem.split('_')[1]) for p in tmp_path.glob('epoch_*.pth'))
    assert names == [2, 4, 6, 8, 10, 11]
