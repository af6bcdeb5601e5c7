# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from sskd_mm.analysis import describe_cost, fit_epochs, spent
from sskd_mm.analysis.plan import count_step

BACKBONE = dict(type='ResNet', depth=18)


def test_plain_training_counts_forward_and_backward(classifier_cfg, tmp_path):
    cfg = classifier_cfg(tmp_path, BACKBONE, 512)
    (cost, ) = describe_cost(cfg)
    # ResNet-18 at 224 has 1.814 G multiply-adds, of which the layers of 7 x 7
    # and 3 x 3 scale with the area, and the classifier of 512 x 10 is small.
    forward = 2 * (1.814e9 - 512 * 1000) * (32 / 224)**2 / 1e9
    # The image gets no gradient: the first layer has no second backward half.
    first = 2 * 64 * 3 * 49 * 16 * 16 / 1e9
    assert cost['gflops'] == pytest.approx(3 * forward - first, rel=0.01)
    assert (cost['name'], cost['epochs']) == ('train', 1)
    assert not list(tmp_path.iterdir()), 'counting leaves no file'


def test_grouped_convolutions():
    """Their gradients are as sparse as they are."""

    class Network(BaseModel):

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 64, 1, bias=False)
            self.second = nn.Conv2d(
                64, 64, 3, padding=1, groups=64, bias=False)

        def forward(self, inputs, data_samples=None, mode='loss'):
            return dict(loss=self.second(self.first(inputs)).sum())

    flops = count_step(Network(), dict(inputs=torch.rand(2, 3, 8, 8)))
    first, second = 2 * 3 * 64 * 8 * 8, 2 * 9 * 64 * 8 * 8
    # The images need no gradient.
    assert flops * 1e9 == pytest.approx(2 * first + 3 * second)


def _phase(name, epochs, gflops, cached_passes=0, gflops_cached=0):
    return dict(
        name=name,
        epochs=epochs,
        gflops=gflops,
        cached_passes=cached_passes,
        cache_begin=0,
        gflops_cached=gflops_cached)


def test_fit_keeps_proportions_and_the_budget():
    cost = [_phase('a', 2, 1.), _phase('b', 6, 2.), _phase('head', 1, .5)]
    assert spent(cost) == 14.5
    assert fit_epochs(cost, 14.5) == dict(a=2, b=6, head=1)
    # Twice as long is 29; an epoch of b more would be 31.
    assert fit_epochs(cost, 29.4) == dict(a=4, b=12, head=2)


def test_fit_spends_what_whole_epochs_leave_over():
    cost = [_phase('a', 2, 1.), _phase('b', 6, 2.), _phase('head', 1, .5)]
    assert fit_epochs(cost, 30.9) == dict(a=5, b=12, head=3)
    assert fit_epochs(
        [_phase('a', 1, 1.), _phase('b', 1, 1.)], 5) == dict(a=2, b=3)
    # Half of an epoch of a: no whole one.
    assert fit_epochs(cost, 29.9) == dict(a=4, b=12, head=3)
    # Proportions that whole epochs do not allow.
    assert fit_epochs(cost, 16.6) == dict(a=2, b=7, head=1)


@pytest.mark.parametrize('budget', [4, 7.3, 14.4, 50, 333.3])
def test_fit_never_exceeds_the_budget(budget):
    cost = [
        _phase(str(i), e, g)
        for i, (e, g) in enumerate([(1, .7), (5, 1.3), (3, .2)])
    ]
    epochs = fit_epochs(cost, budget)
    total = sum(epochs[p['name']] * p['gflops'] for p in cost)
    assert budget - 1.3 < total <= budget * (1 + 1e-6)


def test_fit_leaves_one_epoch_a_phase():
    cost = [_phase('a', 4, 1.), _phase('b', 4, 1.)]
    assert fit_epochs(cost, 0.5) == dict(a=1, b=1)


def test_a_cached_head_stays_as_long_as_it_is():
    cost = [_phase('mimic', 4, 1.), _phase('head', 20, .5, cached_passes=2)]
    assert spent(cost) == 5
    assert fit_epochs(cost, 9.5) == dict(mimic=8, head=20)


def test_teachers_that_are_cached_make_later_epochs_cheaper():
    cost = [_phase('mimic', 6, 5., 2, 1.)]
    assert spent(cost) == 14
    assert fit_epochs(cost, 20.5) == dict(mimic=12)
    assert fit_epochs(cost, 9) == dict(mimic=1)
    assert fit_epochs(cost, 10) == dict(mimic=2)


def test_phases_that_share_a_cache():
    cost = [_phase(name, 3, 5., 2, 1.) for name in ('joint', 'last')]
    assert spent(cost) == 2 * 5 + 4
    cost[1]['cache_begin'] = 3
    assert spent(cost) == 2 * (2 * 5 + 1)
