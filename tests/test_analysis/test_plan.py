# Copyright (c) sskd_mm authors. All rights reserved.
import copy

import pytest
from mmengine.runner import Runner

from sskd_mm.analysis import ModulePath, describe_plan, print_plan


@pytest.fixture(scope='module')
def plan(distill_cfg, tmp_path_factory):
    cfg = distill_cfg(
        tmp_path_factory.mktemp('plan'),
        **{
            'model.inherit': ['neck', 'rpn_head'],
            'optim_wrapper.optimizer.lr': 0.002,
            'auto_scale_lr': dict(enable=True, base_batch_size=4),
            'train_cfg.mimic.param_scheduler': [],
            'train_cfg.head': dict(
                max_epochs=None,
                max_iters=90,
                dataloader=dict(batch_size=2),
                param_scheduler=[
                    dict(
                        type='LinearLR',
                        start_factor=0.1,
                        by_epoch=False,
                        begin=0,
                        end=11),
                    dict(
                        type='mmengine.MultiStepLR',
                        by_epoch=False,
                        milestones=[60])
                ])
        })
    return describe_plan(Runner.from_cfg(cfg).train_loop)


def test_networks(plan):
    assert plan['image_size'] == [128, 128]
    student, (teacher, ) = plan['student'], plan['teachers']
    assert student['type'] == teacher['type'] == 'FasterRCNN'
    assert student['parameters'] < teacher['parameters']
    assert 0 < student['gflops'] < teacher['gflops']


def test_phases(plan):
    assert [p['name'] for p in plan['phases']] == [
        'mimic/layer1', 'mimic/layer2', 'mimic/layer3', 'mimic/layer4',
        'mimic/neck', 'head'
    ]
    for phase in plan['phases']:
        assert phase['trains'] + phase['frozen'] == plan['student'][
            'parameters']
    assert sum(p['trains'] for p in plan['phases']) == plan['student'][
        'parameters']


def test_tap(plan):
    tap, = plan['phases'][1]['taps']
    assert tap == dict(
        stage='layer2',
        student='backbone.layer2',
        teacher='backbone.layer2',
        levels=[dict(student=[32, 16, 16], teacher=[256, 16, 16])],
        adapter='ConvAdapter',
        adapter_parameters=32 * 256 + 256)


def test_flops_of_the_first_phase_by_hand(plan):
    """Two a multiply-add, of every convolution as far as the tap."""

    def conv(c_in, c_out, kernel, size):
        return 2 * c_in * c_out * kernel**2 * size**2

    # Student R18, 16 channels: stem, then two blocks of two 3x3.
    stem, blocks = conv(3, 16, 7, 64), 4 * conv(16, 16, 3, 32)
    adapter = conv(16, 128, 1, 32)
    student = stem + blocks + adapter
    # Backward: by weight and by input for each, but none by the image.
    backward = 2 * student - stem
    # Teacher R50, 32 channels: stem, then three bottlenecks.
    teacher = conv(3, 32, 7, 64) + conv(32, 128, 1, 32) + sum(
        conv(c, 32, 1, 32) + conv(32, 32, 3, 32) + conv(32, 128, 1, 32)
        for c in (32, 128, 128))
    assert plan['phases'][0]['gflops'] == pytest.approx(
        (student + backward + teacher) / 1e9)


def test_schedules(plan):
    assert plan['inherit'] == ['neck', 'rpn_head']
    *mimic, head = plan['phases']
    for phase in mimic:
        assert (phase['batch_size'], phase['iterations']) == (8, 3)
        assert phase['schedule'] == []
        # Scaled with the batch.
        assert phase['learning_rates'] == [0.004] * 3
    assert (head['batch_size'], head['iterations']) == (2, 90)
    assert head['schedule'] == ['LinearLR', 'MultiStepLR']
    assert head['learning_rates'] == pytest.approx([0.0001, 0.001, 0.0001])


def test_printed(plan, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    print_plan(plan)
    out = capsys.readouterr().out
    for text in ('mimic/layer4', 'ground truth', 'ConvAdapter', 'none needed',
                 f'{plan["student"]["parameters"]:,}', 'iters',
                 'LinearLR, MultiStepLR', "the teacher's neck, rpn_head."):
        assert text in out
    row = [line for line in out.splitlines() if 'MultiStepLR' in line][-1]
    assert [cell.strip() for cell in row.split('\u2502')[3:-1]] == [
        '0.0001', '0.001', '0.0001'
    ]


@pytest.fixture
def deep_plan(plan):
    """One whose taps lie deep in their networks."""
    plan = copy.deepcopy(plan)
    for phase in plan['phases']:
        for tap in phase['taps']:
            tap['stage'] = f'body.stages.{tap["stage"]}.1.conv2'
            tap['student'] = f'student.backbone.{tap["stage"]}'
            tap['teacher'] = f'backbone.{tap["stage"]}, -'
    return plan


def test_narrow_tables_keep_the_end_of_a_path(deep_plan, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    print_plan(deep_plan)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) == 80
    assert out.count('...layer4.1.conv2') >= 3  # stage, student, teacher
    assert 'student.back' not in out


def test_nothing_is_cut_in_a_pipe(deep_plan, capsys, monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    print_plan(deep_plan)
    out = capsys.readouterr().out
    assert 'student.backbone.body.stages.layer4.1.conv2' in out
    assert '...' not in out and '\u2026' not in out


@pytest.mark.parametrize('width, text', [(30, 'backbone.layer4.1.conv2'),
                                         (22, '...layer4.1.conv2'),
                                         (16, '...1.conv2'), (4, 'onv2')])
def test_module_path(width, text):
    assert ModulePath('backbone.layer4.1.conv2').fit(width) == text
