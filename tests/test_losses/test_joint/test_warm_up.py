# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch

import sskd_mm.losses.joint.warm_up
from sskd_mm.losses.joint.warm_up import WarmUp

LOSS = torch.tensor(8.)


def test_grows_by_the_epoch():
    warm_up = WarmUp(4, num_samples=6)
    # Three batches an epoch; a fourth part each.
    values = [warm_up(LOSS, 2).item() for _ in range(18)]
    assert values == [2] * 3 + [4] * 3 + [6] * 3 + [8] * 9


def test_none():
    warm_up = WarmUp(0, num_samples=6)
    assert [warm_up(LOSS, 2).item() for _ in range(4)] == [8] * 4


def test_resumes():
    one, other = [WarmUp(4, num_samples=6) for _ in range(2)]
    for _ in range(7):
        one(LOSS, 2)
    other.load_state_dict(one.state_dict())
    assert other(LOSS, 2).item() == one(LOSS, 2).item() == 6


def test_evaluation_does_not_count():
    warm_up = WarmUp(4, num_samples=6).eval()
    assert [warm_up(LOSS, 6).item() for _ in range(3)] == [2] * 3


def test_samples_of_all_processes_count(monkeypatch):
    monkeypatch.setattr(sskd_mm.losses.joint.warm_up, 'get_world_size',
                        lambda: 3)
    warm_up = WarmUp(4, num_samples=6)
    assert [warm_up(LOSS, 2).item() for _ in range(3)] == [2, 4, 6]


def test_bad_option():
    with pytest.raises(ValueError, match='warmup_epochs is -2; it must'):
        WarmUp(-2, 6)
