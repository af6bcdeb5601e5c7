# Copyright (c) sskd_mm authors. All rights reserved.
import logging

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from sskd_mm.analysis import (count_step, describe_network, describe_parts,
                              fit_epochs, print_plan, spent)
from sskd_mm.analysis.complexity import plot_complexity


@pytest.fixture(scope='module')
def detectors(root):
    """A student with weights that nearly all proposals of a random network
    survive with, and its teacher, of which one does."""
    found = []
    for name, bias in (('r18', 0), ('r50', 1)):
        cfg = Config.fromfile(
            root / f'configs/baselines/faster-rcnn_{name}_fpn_digits.py')
        with DefaultScope.overwrite_default_scope('mmdet'):
            torch.manual_seed(0)
            model = MODELS.build(cfg.model)
            model.init_weights()
        if bias:
            # All boxes are the whole image, so NMS keeps a single one.
            nn.init.constant_(model.rpn_head.rpn_reg.weight, 0)
            nn.init.constant_(model.rpn_head.rpn_reg.bias, 4)
        found.append(model)
    return found


@pytest.fixture
def batch():
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(128, 128), pad_shape=(128, 128), scale_factor=(1, 1)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8., 8., 60., 60.]]), labels=torch.tensor([1]))
    image = torch.randint(0, 255, (3, 128, 128), dtype=torch.uint8)
    return dict(inputs=[image], data_samples=[sample])


@pytest.fixture
def messages(monkeypatch):
    messages = []
    monkeypatch.setattr(
        MMLogger.get_current_instance(), 'log',
        lambda level, text, *args: messages.append(text)
        if level == logging.WARNING else None)
    return messages


def second_stage(model, proposals):
    """By hand: two layers and the two outputs, for each proposal."""
    head = model.roi_head.bbox_head
    linear = [*head.shared_fcs, head.fc_cls, head.fc_reg]
    return 2 * proposals * sum(x.weight.numel() for x in linear) / 1e9


def test_as_many_proposals_as_there_may_be(detectors, batch):
    number = detectors[0].test_cfg.rpn.max_per_img
    costs = []
    for model in detectors:
        parts = {
            p['part']: p['gflops']
            for p in describe_parts(model.eval(), batch)
        }
        assert parts['roi_head'] == pytest.approx(second_stage(model, number))
        costs.append(describe_network(model, batch)['gflops'])
        assert costs[-1] == pytest.approx(sum(parts.values()))
        assert 'predict_by_feat' not in vars(model.rpn_head)
    assert costs[0] < costs[1]


def test_a_step_samples_as_many_as_it_may(detectors, batch):
    for model in detectors:
        number = model.train_cfg.rcnn.sampler.num
        whole = count_step(model.train(), batch)
        model.train_cfg.rcnn.sampler.num = number // 2
        model.roi_head.bbox_sampler.num = number // 2
        # Each of the sampled boxes is computed with forwards and backwards.
        assert whole - count_step(model, batch) == pytest.approx(
            3 * second_stage(model, number // 2))
        model.roi_head.bbox_sampler.num = number


class Net(BaseModel):
    """A network whose forward pass is empty, or fails, or is only trained."""

    def __init__(self, tensor=None, loss=None):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)
        self.tensor, self.loss = tensor, loss

    def forward(self, inputs, data_samples=None, mode='tensor'):
        error = self.tensor if mode == 'tensor' else self.loss
        if callable(error):
            error = error()
        if error is not None:
            raise error
        if mode == 'loss':
            return dict(loss=self.layer(inputs).sum())


def images():
    return dict(inputs=torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize('net, why', [
    (Net(), 'no countable operator ran'),
    (Net(tensor=NotImplementedError('no _forward')),
     'NotImplementedError: no _forward'),
])
def test_unknown(net, why, messages, capsys, tmp_path):
    network = describe_network(net, images())
    assert network['gflops'] is None and network['parameters'] == 16
    assert messages == [f'The FLOPs of a Net are unknown: {why}.']
    parts = describe_parts(net, images())
    assert parts == [dict(part='layer', parameters=16, gflops=None)]
    plot_complexity(dict(student=parts), tmp_path / 'x.png')
    assert (tmp_path / 'x.png').exists()
    # It trains all the same.
    assert count_step(net, images()) == pytest.approx(
        2 * 2 * 3 * 4 * 64 / 1e9), 'its weights and outputs, no input'
    phase = dict(
        name='head',
        epochs=1,
        by_epoch=True,
        batch_size=None,
        schedule=[],
        schedule_note='',
        learning_rates=[.1, .1, .1],
        taps=[],
        losses=[],
        trains=1,
        frozen=0,
        cached_passes=2,
        gflops=None,
        gflops_cached=None)
    print_plan(
        dict(
            image_size=[8, 8],
            student=network,
            teachers=[],
            inherit=[],
            phases=[phase]))
    out = ' '.join(capsys.readouterr().out.split())
    assert out.count('unknown') == 3


def test_a_step_that_cannot_be_counted(messages):
    """But trains."""
    calls = iter([RuntimeError('no counting'), None])
    assert count_step(Net(loss=lambda: next(calls)), images()) is None
    assert 'a training step are unknown: RuntimeError: no c' in messages[0]


def test_a_step_that_fails(messages):
    with pytest.raises(KeyError, match='gt_label'):
        count_step(Net(loss=KeyError('gt_label')), images())


def test_unknown_compute_cannot_be_made_equal():
    phase = dict(
        name='head', epochs=2, gflops=1., gflops_cached=0, cached_passes=0,
        cache_begin=0)
    known, unknown = [phase], [phase, dict(phase, gflops=None)]
    assert spent(known) == 2 and spent(unknown) is None
    for cost, budget in ((known, None), (unknown, 3.)):
        with pytest.raises(ValueError, match='FLOPs of a phase are unknown'):
            fit_epochs(cost, budget)
