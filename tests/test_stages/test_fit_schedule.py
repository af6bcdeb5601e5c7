# Copyright (c) sskd_mm authors. All rights reserved.
"""A config's schedule in the phases, by the learning rates that MMEngine's
schedulers make of it."""
import copy
import logging
from dataclasses import replace

import pytest
from mmengine.registry import DefaultScope

from sskd_mm.engine.learning_rates import learning_rates
from sskd_mm.engine.log_schedules import log_schedules
from sskd_mm.stages import plan_phases

LR = 0.02
ITERS = 40  # of an epoch
WARMUP = dict(
    type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
ONE_X = dict(
    type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11])
#: Schedules of OpenMMLab's configs for so many epochs.
WHOLE = dict(
    one_x=(12, [ONE_X]),
    epoch_step=(120, [dict(type='MultiStepLR', milestones=[36, 72, 108])]),
    step=(60, [dict(type='StepLR', step_size=1, gamma=0.98)]),
    exponential=(60, [dict(type='ExponentialLR', gamma=0.95)]),
    cosine=(200, [dict(type='CosineAnnealingLR', T_max=200, end=200)]),
    restarts=(60, [
        dict(
            type='CosineRestartLR',
            periods=[20, 40],
            restart_weights=[1, 0.5],
            eta_min=0.)
    ]),
    one_cycle=(60, [dict(type='OneCycleLR', eta_max=LR, total_steps=60)]),
    swin=(300, [
        dict(
            type='LinearLR',
            start_factor=1e-3,
            end=20,
            convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', eta_min=1e-5, begin=20)
    ]),
    yolox=(300, [
        dict(
            type='mmdet.QuadraticWarmupLR',
            begin=0,
            end=5,
            convert_to_iter_based=True),
        dict(
            type='CosineAnnealingLR',
            eta_min=0.001,
            begin=5,
            T_max=285,
            end=285,
            convert_to_iter_based=True),
        dict(type='ConstantLR', factor=1, begin=285, end=300)
    ]))


def plan(schedule, iters=ITERS, lengths=('max_epochs', 10, 5), **head):
    key, *numbers = lengths
    with DefaultScope.overwrite_default_scope('mmdet'):
        return plan_phases(
            dict(
                dataloader={},
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=LR)),
                param_scheduler=schedule), ['neck'], [],
            mimic={key: numbers[0]},
            head={
                key: numbers[1],
                **head
            },
            iters_of_pass=lambda phase: iters)


def rates_of(phase):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return learning_rates(phase)


@pytest.mark.parametrize('name', WHOLE)
@pytest.mark.parametrize('key', ['max_epochs', 'max_iters'])
def test_phases_run_through_the_whole(name, key):
    """At each tenth of a phase the rate is what it is at that tenth of the
    whole training, in whatever the phase is measured."""
    epochs, schedule = WHOLE[name]
    kept = copy.deepcopy(schedule)
    whole, = plan(
        schedule, iters=20, lengths=('max_epochs', 0, epochs), cached_passes=0)
    assert whole.param_scheduler == schedule and not whole.schedule_note
    expected = rates_of(whole)
    unit = ITERS if key == 'max_iters' else 1
    phases = plan(schedule, lengths=(key, 2 * epochs * unit // 3,
                                     epochs * unit // 3))
    assert schedule == kept
    for phase in phases:
        assert f'from {epochs} epochs' in phase.schedule_note
        rates = rates_of(phase)
        for tenth in range(10):
            # Within an epoch of the whole, in which by-epoch ones stand still.
            share = (tenth + 0.5) / 10
            place = int(len(expected) * share)
            near = expected[max(0, place - 20):place + 21]
            assert 0.999 * min(near) <= rates[int(
                len(rates) * share)] <= 1.001 * max(near)
        assert rates[-1] == pytest.approx(
            expected[-1], rel=0.1, abs=1e-3 * LR)


def test_milestones_fire():
    """Left as it is, the schedule restarts in each phase and they never do."""
    phases = plan([WARMUP, ONE_X], iters=7330, lengths=('max_epochs', 8, 4))
    for phase in phases:
        rates = rates_of(phase)
        assert rates[len(rates) // 2] == pytest.approx(LR)
        assert rates[-1] == pytest.approx(LR / 100)
        unfitted = rates_of(replace(phase, param_scheduler=[WARMUP, ONE_X]))
        assert unfitted[-1] == pytest.approx(LR)


@pytest.mark.parametrize('iters', [3, 19, 52, 400, 7330])
@pytest.mark.parametrize('own', [True, False])
def test_warmups_end_early(iters, own):
    """In iterations, at most those that they name and a tenth of a phase
    that is too short for them; never for good, as one of a single iteration
    would."""
    schedule = [WARMUP, ONE_X]
    settings = dict(param_scheduler=[WARMUP]) if own else {}
    *_, head = plan(
        schedule, iters=iters, lengths=('max_epochs', 1, 1), **settings)
    rates = rates_of(head)
    assert rates[0] == pytest.approx(0.001 * LR)
    top = next(i for i, rate in enumerate(rates) if rate > 0.999 * LR)
    assert top <= min(499, max(1, iters // 10))
    assert ('warm-up cut from 500' in head.schedule_note) is (iters < 5000)
    head, = plan(schedule, iters=1, lengths=('max_epochs', 0, 1), **settings)
    assert rates_of(head) == [LR]


def test_warmups_of_trainings_by_iteration():
    """What follows a warm-up follows it at once."""
    schedule = [
        dict(WARMUP, end=1000),
        dict(
            type='PolyLR', power=0.9, by_epoch=False, begin=1000, end=20000)
    ]
    mimic, head = plan(schedule, lengths=('max_iters', 12000, 3000))
    assert mimic.param_scheduler[1].get('begin') == 1000
    assert mimic.param_scheduler[1].get('end') == 12000
    assert head.param_scheduler[0].get('end') == 300
    assert head.param_scheduler[1].get('begin') == 300
    assert 'from 20,000 iterations' in head.schedule_note


@pytest.mark.parametrize('schedule', [
    None,
    [],
    [dict(WARMUP, end=50),
     dict(type='CosineAnnealingLR', convert_to_iter_based=True)],
    dict(type='PolyLR', power=1, convert_to_iter_based=True),
    dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP', patience=3),
    dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP', end=12),
])
def test_what_fits_stays(schedule):
    for phase in plan(schedule):
        assert phase.param_scheduler is schedule
        assert not phase.schedule_note


def test_a_phase_s_own_stays():
    own = [dict(ONE_X)]
    mimic, head = plan([ONE_X], param_scheduler=own)
    assert head.param_scheduler is own and not head.schedule_note
    assert mimic.schedule_note


def test_of_unknown_length(caplog):
    """Milestones beyond the run, and no end."""
    schedule = [dict(type='MultiStepLR', milestones=[30, 60, 90])]
    phases = plan(schedule)
    logger = logging.getLogger('test')
    with caplog.at_level(logging.INFO, 'test'):
        log_schedules(phases, logger)
        log_schedules(plan([WARMUP, ONE_X]), logger)
    warning, cut, info = caplog.records
    assert warning.levelname == 'WARNING'
    assert 'in mimic/neck, head: not scaled' in warning.message
    assert '15 epochs of all phases' in warning.message
    for record in (cut, info):
        assert record.levelname == 'INFO'
        assert 'scaled from 12 epochs' in record.message
    assert phases[0].param_scheduler is schedule
