# Copyright (c) sskd_mm authors. All rights reserved.
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from sskd_mm.stages import Stage, StagePartition, warn_of_left_out


class TwoBackbones(nn.Module):
    """A minimal detector; the neck reads both backbones if ``joined``."""

    def __init__(self, joined):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.backbone2 = nn.Conv2d(3, 4, 1)
        self.neck = nn.Conv2d(4, 4, 1)
        self.query = nn.Parameter(torch.zeros(7))
        self.bbox_head = nn.Conv2d(4, 2, 1)
        self.joined = joined

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x, y = self.backbone(inputs), self.backbone2(inputs)
        return self.bbox_head(self.neck(x + y if self.joined else x))


@pytest.mark.parametrize('joined, taps, expected', [
    (False, ['backbone', 'neck'], dict(backbone2=16)),
    (True, ['backbone', 'neck'], {}),
    (True, ['backbone'], dict(neck=20, backbone2=16)),
])
def test_left_out(joined, taps, expected, caplog):
    partition = StagePartition(
        TwoBackbones(joined), [Stage(tap, tap, (tap, )) for tap in taps],
        torch.rand(2, 3, 8, 8))
    MMLogger.get_instance('left_out', log_level='INFO').addHandler(
        caplog.handler)
    found = warn_of_left_out(partition)
    assert list(found.items()) == list(expected.items())
    assert len(caplog.records) == bool(expected)
    for record in caplog.records:
        assert record.levelno == logging.WARNING
        for name, number in expected.items():
            assert f'{name} ({number} parameters)' in record.message
