# Copyright (c) sskd_mm authors. All rights reserved.
import pytest

from sskd_mm.analysis import describe_cost, fit_epochs, spent

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


def test_fit_keeps_proportions_and_the_budget():
    cost = [
        dict(name='a', epochs=2, gflops=1.0, cached_passes=0, gflops_cached=0, cache_begin=0),
        dict(name='b', epochs=6, gflops=2.0, cached_passes=0, gflops_cached=0, cache_begin=0),
        dict(name='head', epochs=1, gflops=0.5, cached_passes=0, gflops_cached=0, cache_begin=0)
    ]
    assert spent(cost) == 14.5
    assert fit_epochs(cost, 14.5) == dict(a=2, b=6, head=1)
    # Twice as long is 29; one of b more would be 31.
    assert fit_epochs(cost, 30.9) == dict(a=4, b=12, head=2)
    assert fit_epochs(cost, 16.6) == dict(a=2, b=7, head=1)


@pytest.mark.parametrize('budget', [4, 7.3, 14.4, 50, 333.3])
def test_fit_never_exceeds_the_budget(budget):
    cost = [dict(name=str(i), epochs=e, gflops=g, cached_passes=0, gflops_cached=0, cache_begin=0)
            for i, (e, g) in enumerate([(1, .7), (5, 1.3), (3, .2)])]
    epochs = fit_epochs(cost, budget)
    total = sum(epochs[p['name']] * p['gflops'] for p in cost)
    assert budget - 1.3 < total <= budget * (1 + 1e-6)


def test_fit_leaves_one_epoch_a_phase():
    cost = [
        dict(name=name, epochs=4, gflops=1., cached_passes=0, gflops_cached=0, cache_begin=0)
        for name in 'ab'
    ]
    assert fit_epochs(cost, 0.5) == dict(a=1, b=1)


def test_a_cached_head_stays_as_long_as_it_is():
    cost = [
        dict(name='mimic', epochs=4, gflops=1., cached_passes=0, gflops_cached=0, cache_begin=0),
        dict(name='head', epochs=20, gflops=.5, cached_passes=2, gflops_cached=0, cache_begin=0)
    ]
    assert spent(cost) == 5
    assert fit_epochs(cost, 9.5) == dict(mimic=8, head=20)


def test_teachers_that_are_cached_make_later_epochs_cheaper():
    cost = [
        dict(
            name='mimic', epochs=6, gflops=5., cached_passes=2,
            gflops_cached=1., cache_begin=0)
    ]
    assert spent(cost) == 14
    assert fit_epochs(cost, 20.5) == dict(mimic=12)
    assert fit_epochs(cost, 9) == dict(mimic=1)
    assert fit_epochs(cost, 10) == dict(mimic=2)


def test_phases_that_share_a_cache():
    phase = dict(gflops=5., cached_passes=2, gflops_cached=1., cache_begin=0)
    cost = [dict(phase, name=name, epochs=3) for name in ('joint', 'last')]
    assert spent(cost) == 2 * 5 + 4
    cost[1]['cache_begin'] = 3
    assert spent(cost) == 2 * (2 * 5 + 1)
