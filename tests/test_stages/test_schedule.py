# Copyright (c) sskd_mm authors. All rights reserved.
import pytest

from sskd_mm.stages import plan_mimic_phases

STAGES = ('layer1', 'layer2', 'neck')


def test_sequential():
    phases = plan_mimic_phases('sequential', STAGES)
    assert [p.name for p in phases
            ] == ['mimic/layer1', 'mimic/layer2', 'mimic/neck']
    assert [p.taps for p in phases] == [p.trains for p in phases
                                        ] == [(s, ) for s in STAGES]


def test_cumulative():
    phases = plan_mimic_phases('cumulative', STAGES)
    assert [p.taps for p in phases] == [(s, ) for s in STAGES]
    assert [p.trains for p in phases] == [STAGES[:1], STAGES[:2], STAGES]


@pytest.mark.parametrize('schedule, border', [('local', 'detached'),
                                              ('blockwise', 'teacher'),
                                              ('joint', 'student')])
def test_one_phase(schedule, border):
    phase, = plan_mimic_phases(schedule, STAGES)
    assert phase.name == f'mimic/{schedule}'
    assert phase.taps == phase.trains == STAGES
    assert phase.border == border


def test_last():
    phase, = plan_mimic_phases('last', STAGES)
    assert phase.name == 'mimic/last'
    assert (phase.taps, phase.trains) == (('neck', ), STAGES)
    assert phase.border == 'student'


@pytest.mark.parametrize('schedule', ['local', 'blockwise', 'joint'])
def test_at_once_without_a_tap_in_the_head(schedule):
    phase, = plan_mimic_phases(schedule, (*STAGES, 'fc'), ['fc'])
    assert phase.taps == STAGES
    assert plan_mimic_phases('last', (*STAGES, 'fc'),
                             ['fc'])[0].taps == ('fc', )
    phase, = plan_mimic_phases(schedule, ['fc'], ['fc'])
    assert phase.taps == ('fc', )


def test_unknown():
    with pytest.raises(ValueError, match="Did you mean 'sequential'"):
        plan_mimic_phases('sequental', STAGES)
