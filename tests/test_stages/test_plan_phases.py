# Copyright (c) sskd_mm authors. All rights reserved.
"""The phases that a ``train_cfg`` plans."""
import pytest

from sskd_mm.stages import plan_phases

STAGES = ('layer1', 'layer2', 'fc')


def plan(schedule, stages=STAGES, in_head=('fc', ), **phases):
    return plan_phases(
        dict(dataloader={}, optim_wrapper={}, param_scheduler=None),
        stages,
        in_head,
        mimic=dict(max_epochs=2),
        head=dict(max_epochs=1),
        phases=phases.pop('phases', None),
        schedule=schedule)


@pytest.mark.parametrize('schedule, taps', [
    (['sequential', 'last'], [('layer1', ), ('layer2', ), ('fc', )]),
    (['cumulative', 'last'], [('layer1', ), ('layer2', ), ('fc', )]),
    (['joint', 'last'], [('layer1', 'layer2'), ('fc', )]),
    (['last', 'sequential'], [('fc', ), ('layer1', ), ('layer2', )]),
    (['last', 'cumulative'], [('layer2', ), ('layer1', ), ('layer2', ),
                              ('fc', )]),
    ('cumulative', [('layer1', ), ('layer2', ), ('fc', )]),
])
def test_the_last_schedule_that_can_compares_a_tap_in_the_head(schedule, taps):
    phases = plan(schedule)[:-1]
    assert [phase.taps for phase in phases] == taps
    # A phase for that tap trains the backbone.
    assert all('layer1' in p.trains for p in phases if p.taps == ('fc', ))


@pytest.mark.parametrize('schedule, advice', [
    ('sequential', "schedule=['sequential', 'last']"),
    (['local', 'joint'], "schedule=['local', 'joint', 'last']"),
])
def test_schedules_that_cannot(schedule, advice):
    with pytest.raises(ValueError) as error:
        plan(schedule)
    assert "the tap 'fc', which lies in the head" in str(error.value)
    assert advice in str(error.value)


def test_no_mimic_phase_leaves_nothing_out():
    """As of a joint method that is laid over a distillation."""
    head, = plan('sequential', phases={'mimic/*': dict(max_epochs=0)})
    assert head.name == 'head'


def test_settings_for_all_phases_of_a_schedule():
    phases = plan(
        ['sequential', 'last'],
        phases={
            'mimic/sequential/layer2': dict(max_iters=7),
            'mimic/sequential/*': dict(max_epochs=3, cached_passes=1),
            '*/last': dict(max_epochs=5)
        })
    assert [p.max_epochs if p.by_epoch else p.max_iters
            for p in phases] == [3, 7, 5, 1]
    assert [p.cached_passes for p in phases] == [1, 1, 0, 0]


def test_a_pattern_of_no_phase():
    with pytest.raises(ValueError, match="no phase 'mimic/cumulative/\\*'"):
        plan(['sequential', 'last'], phases={'mimic/cumulative/*': {}})
