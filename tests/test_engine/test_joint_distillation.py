# Copyright (c) sskd_mm authors. All rights reserved.
"""Joint distillation and the shipped methods, in the common loop."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from tool_process import ToolProcess

from sskd_mm.analysis import describe_plan, print_plan
from sskd_mm.compat import load_checkpoint_file
from sskd_mm.distillers import lay_method_over
from sskd_mm.engine import StageByStageTrainLoop

RESNET = dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4)
WIDE = dict(RESNET, base_channels=6, stem_channels=6)
SAME = dict(RESNET, depth=34)
METHODS = Path(__file__).parents[2] / 'configs/_base_/methods'
FITNET = [dict(type='FitNetLoss', weight=1.)]


@pytest.fixture(scope='session')
def joint_cfg(classifier_cfg, tmp_path_factory):
    """Returns a function that makes the config of a joint distillation."""
    folder = tmp_path_factory.mktemp('joint')

    def make(work_dir, losses=FITNET, epochs=1, teacher=WIDE, **options):
        cfg = classifier_cfg(work_dir, RESNET, 32)
        teacher = classifier_cfg(folder, teacher,
                                 teacher['base_channels'] * 8).model
        path = folder / f'{teacher.head.in_channels}.pth'
        if not path.exists():
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                torch.manual_seed(1)
                weights = MODELS.build(teacher.copy()).state_dict()
            torch.save(dict(state_dict=weights), path)
        cfg.model = dict(
            type='JointDistiller',
            student=cfg.model,
            teacher=dict(cfg=teacher.to_dict(), checkpoint=str(path)),
            losses=losses)
        cfg.train_cfg = dict(
            type='StageByStageTrainLoop',
            mimic=dict(max_epochs=0),
            head=dict(max_epochs=0),
            finetune=dict(max_epochs=epochs),
            accept_weak_teacher=True)
        cfg.merge_from_dict(options)
        return cfg

    return make


def _weights(folder, name):
    return load_checkpoint_file(str(folder / name))['state_dict']


def _assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key


def test_without_weight_it_is_plain_training(joint_cfg, classifier_cfg,
                                             tmp_path):
    """Number for number, from the first weights to the last."""
    cfg = classifier_cfg(tmp_path / 'plain', RESNET, 32)
    cfg.train_cfg.max_epochs = 4  # 12 iterations
    Runner.from_cfg(cfg).train()
    losses = [dict(type='FitNetLoss', weight=0.), dict(type='KDLoss',
                                                       weight=0.)]
    cfg = joint_cfg(tmp_path / 'joint', losses, epochs=4)
    Runner.from_cfg(cfg).train()
    _assert_equal(
        _weights(tmp_path / 'joint', 'epoch_4.pth'),
        _weights(tmp_path / 'plain', 'epoch_4.pth'))


@pytest.mark.parametrize('method', [
    path.stem for path in sorted(METHODS.glob('*.py'))
    # Methods for detectors compare their necks.
    if path.stem != 'joint'
    and Config.fromfile(path).model.get('stages') != ['neck']
])
def test_every_method_runs(method, joint_cfg, classifier_cfg, tmp_path):
    teacher = SAME if method in ('fsp_joint', 'adadistill') else WIDE
    cfg = joint_cfg(tmp_path, teacher=teacher)
    cfg.max_epochs = 2
    lay_method_over(cfg, str(METHODS / f'{method}.py'))
    if 'phases' in cfg.train_cfg:
        cfg.train_cfg.phases['mimic/layer2'].max_epochs = 1
    for phase in ('mimic', 'head'):
        if cfg.train_cfg[phase].max_epochs:
            cfg.train_cfg[phase].max_epochs = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    result = json.loads((tmp_path / 'result.json').read_text())
    phases = dict(
        fitnets=[('mimic/layer2', 1), ('finetune', 2)],
        fsp=[('mimic/joint', 1), ('finetune', 2)],
        sskd_paper=[*((f'mimic/layer{i}', 1) for i in range(1, 5)),
                    ('head', 1)]).get(method, [('finetune', 2)])
    assert [(p['name'], p['epochs']) for p in result['phases']] == phases
    assert result['student']['epoch'] == sum(epochs for _, epochs in phases)
    # It is the plain student, and scores the same.
    plain = classifier_cfg(tmp_path / 'plain', RESNET, 32)
    plain.load_from = (tmp_path / 'last_checkpoint').read_text()
    plain.test_dataloader = plain.val_dataloader
    plain.test_cfg, plain.test_evaluator = dict(), plain.val_evaluator
    tester = Runner.from_cfg(plain)
    tester.model.load_state_dict(
        load_checkpoint_file(plain.load_from)['state_dict'])
    assert tester.test()['accuracy/top1'] == pytest.approx(
        result['student']['accuracy/top1'])


def test_losses_train_with_the_student(joint_cfg, tmp_path):
    cfg = joint_cfg(tmp_path)
    runner = Runner.from_cfg(cfg)
    loss = runner.build_train_loop(cfg.train_cfg).distiller.joint_losses[
        'fitnet']
    before = loss.regressor.conv.weight.clone()
    runner = Runner.from_cfg(joint_cfg(tmp_path))
    runner.train()
    loss = runner.train_loop.distiller.joint_losses['fitnet']
    assert not torch.equal(loss.regressor.conv.weight, before)
    optimizer = runner.optim_wrapper.optimizer
    trained = {id(p) for g in optimizer.param_groups for p in g['params']}
    distiller = runner.train_loop.distiller
    assert trained == {
        id(p)
        for module in (distiller.student, distiller.joint_losses)
        for p in module.parameters()
    }
    checkpoint = load_checkpoint_file(str(tmp_path / 'epoch_1.pth'))
    assert list(checkpoint['state_dict']) == list(
        distiller.student.state_dict())
    _assert_equal(checkpoint['sskd']['auxiliary']['losses'],
                  distiller.joint_losses.state_dict())


class Killed(Exception):
    pass


@pytest.mark.parametrize('epoch, batch', [(1, 1), (2, 0)])
def test_killed_and_resumed(joint_cfg, tmp_path, monkeypatch, epoch, batch):
    options = {
        'default_hooks.checkpoint': dict(
            type='CheckpointHook', by_epoch=False, interval=1)
    }
    Runner.from_cfg(joint_cfg(tmp_path / 'whole', epochs=3, **options)).train()
    step = StageByStageTrainLoop.run_iter

    def stop(self, idx, *args):
        if (self.epoch, idx) == (epoch, batch):
            raise Killed
        step(self, idx, *args)

    cfg = joint_cfg(tmp_path / 'killed', epochs=3, **options)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StageByStageTrainLoop, 'run_iter', stop)
        Runner.from_cfg(cfg).train()
    cfg = joint_cfg(tmp_path / 'killed', epochs=3, resume=True, **options)
    Runner.from_cfg(cfg).train()
    whole = load_checkpoint_file(str(tmp_path / 'whole/iter_9.pth'))
    again = load_checkpoint_file(str(tmp_path / 'killed/iter_9.pth'))
    _assert_equal(again['state_dict'], whole['state_dict'])
    _assert_equal(again['sskd']['auxiliary']['losses'],
                  whole['sskd']['auxiliary']['losses'])


def test_teacher_stays_through_the_head_phase(joint_cfg, tmp_path):
    cfg = joint_cfg(tmp_path)
    cfg.train_cfg.mimic.max_epochs = cfg.train_cfg.head.max_epochs = 1
    cfg.train_cfg.schedule = 'joint'
    runner = Runner.from_cfg(cfg)
    runner.train()
    result = json.loads((tmp_path / 'result.json').read_text())
    assert [p['name'] for p in result['phases']
            ] == ['mimic/joint', 'head', 'finetune']


def test_plan(joint_cfg, tmp_path, capsys):
    losses = [
        dict(type='KDLoss', weight=0.9),
        dict(type='FitNetLoss', weight=100., stage=0)
    ]
    cfg = joint_cfg(tmp_path, losses, **{'model.task_weight': 0.1})
    runner = Runner.from_cfg(cfg)
    plan = describe_plan(runner.build_train_loop(cfg.train_cfg))
    phase, = plan['phases']
    assert phase['taps'] == [] and phase['frozen'] == 0
    # A 1x1 convolution from 4 to 6 channels, weight and bias of batch norm.
    assert phase['losses'] == [
        dict(name='task', type='ImageClassifier', weight=0.1, parameters=0),
        dict(name='kd', type='KDLoss', weight=0.9, parameters=0),
        dict(
            name='fitnet', type='FitNetLoss', weight=100., parameters=24 + 12)
    ]
    # The student forward and backward (without the image's gradient), the
    # teacher forward.
    student, teacher = plan['student']['gflops'], plan['teachers'][0]['gflops']
    assert 2.9 * student + teacher < phase['gflops'] < 3.1 * student + teacher
    print_plan(plan)
    out = capsys.readouterr().out
    for text in ('ground truth, kd', 'FitNetLoss', '0.9', '100', '36'):
        assert text in out
    assert 'Taps' not in out


def test_mixed_precision(joint_cfg, tmp_path, amp_on_cpu):
    losses = [
        dict(type='KDLoss'),
        dict(type='FitNetLoss'),
        dict(type='ATLoss'),
        dict(type='NSTLoss')
    ]
    cfg = joint_cfg(tmp_path, losses)
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    runner = Runner.from_cfg(cfg)
    runner.train()
    for name, param in runner.model.named_parameters():
        assert torch.isfinite(param).all(), name


def test_average(joint_cfg, tmp_path):
    cfg = joint_cfg(tmp_path, custom_hooks=[dict(type='EMAHook')])
    runner = Runner.from_cfg(cfg)
    runner.train()
    saved = load_checkpoint_file(str(tmp_path / 'epoch_1.pth'))
    assert list(saved['state_dict']) == list(
        runner.train_loop.distiller.student.state_dict())


def test_method_of_the_tool(joint_cfg, tmp_path, root):
    cfg = joint_cfg(tmp_path)
    cfg.max_epochs = 7
    _train(cfg, tmp_path, 1, root, '--method', str(METHODS / 'kd.py'),
           '--work-dir', str(tmp_path / 'kd'), '--cfg-options',
           'train_cfg.finetune.max_epochs=2')
    result = json.loads((tmp_path / 'kd/result.json').read_text())
    assert [(p['name'], p['epochs'])
            for p in result['phases']] == [('finetune', 2)]
    text = (tmp_path / 'kd/config.py').read_text()
    assert 'KDLoss' in text and 'FitNetLoss' not in text


def _train(cfg, folder, processes, root, *args):
    cfg.dump(folder / 'config.py')
    if processes > 1:
        args = (*args, '--launcher', 'pytorch')
    ToolProcess(
        root / 'tools/train.py',
        folder / 'config.py',
        *args,
        processes=processes).finish()


def test_two_processes_equal_one(joint_cfg, tmp_path, root, monkeypatch):
    # With a mimic phase first, in which DDP must not have the losses'
    # parameters.
    losses = [dict(type='KDLoss'), dict(type='KeepsAFactor', weight=1.)]
    (tmp_path / 'factor_loss.py').write_text(FACTOR_LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        cfg = joint_cfg(folder, losses)
        cfg.custom_imports.imports.append('factor_loss')
        cfg.train_dataloader.batch_size = 4 // processes
        cfg.model.student.backbone.norm_eval = True
        cfg.train_cfg.mimic.max_epochs = 1
        cfg.train_cfg.schedule = 'joint'
        cfg.train_cfg.evaluate_teacher = False
        _train(cfg, folder, processes, root)
    one, two = (
        load_checkpoint_file(str(tmp_path / f'{n}/epoch_2.pth'))
        for n in (1, 2))
    for states in ((one['state_dict'], two['state_dict']),
                   (one['sskd']['auxiliary']['losses'],
                    two['sskd']['auxiliary']['losses'])):
        assert list(states[0]) == list(states[1])
        for key, value in states[0].items():
            torch.testing.assert_close(
                value, states[1][key], rtol=1e-3, atol=1e-5, msg=key)


#: A loss with a parameter and without batch norm, whose batch processes do not
#: share.
FACTOR_LOSS = '''
import torch
from mmengine.registry import MODELS
from sskd_mm.losses.joint import JointLoss


@MODELS.register_module()
class KeepsAFactor(JointLoss):

    def prepare(self, *args):
        self.factor = torch.nn.Parameter(torch.ones(1))

    def forward(self, student, teacher, labels, indices):
        return (self.factor * student.logits -
                teacher.logits).square().mean()
'''
