# Copyright (c) sskd_mm authors. All rights reserved.
"""A training step reads no tensor's value, which would wait for the GPU."""
import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

from sskd_mm.engine import PhaseHook
from sskd_mm.stages import Phase

READING = (torch.ops.aten._local_scalar_dense.default,
           torch.ops.aten.nonzero.default)


class NoReading(TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in READING, f'{func} needs a value'
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope='module')
def distiller(distill_cfg, tmp_path_factory):
    cfg = distill_cfg(tmp_path_factory.mktemp('x'))
    # One tap is resampled and widened, one has several levels.
    cfg.model.stages = [
        'backbone.layer1',
        dict(student='backbone.layer2', teacher='backbone.layer3'), 'neck'
    ]
    cfg.model._scope_ = 'mmdet'
    distiller = MODELS.build(cfg.model)
    image = dict(img_shape=(128, 128), batch_input_shape=(128, 128))
    distiller.prepare(
        dict(
            inputs=list(torch.zeros(2, 3, 128, 128)),
            data_samples=[DetDataSample(metainfo=image) for _ in range(2)]))
    distiller.prepare_feeding()
    return distiller


@pytest.mark.parametrize('border', ['student', 'detached', 'teacher'])
@pytest.mark.parametrize('loss', [
    dict(type='L2MimicLoss', normalize=True), 'SmoothL1MimicLoss',
    'CosineMimicLoss', 'NormalizedL2MimicLoss', 'PearsonMimicLoss',
    'ChannelWiseMimicLoss', 'AttentionMimicLoss', 'FSPMimicLoss',
    dict(type='ContrastiveMimicLoss', over='positions', max_positions=16)
])
def test_a_step_reads_no_value(distiller, loss, border):
    distiller.mimic_loss = MODELS.build(
        loss if isinstance(loss, dict) else dict(type=loss))
    taps = tuple(distiller.stages)
    distiller.enter_phase(Phase('mimic/x', taps, taps, border))
    hook = PhaseHook()
    hook._loss_sum, hook._iters = 0., 0
    inputs = torch.rand(2, 3, 128, 128)
    with NoReading():
        total, log = distiller.parse_losses(distiller(inputs, mode='loss'))
        total.backward()
        hook.after_train_iter(None, 0, outputs=log)
        with pytest.raises(AssertionError, match='needs a value'):
            bool(total > 0)


def test_a_joint_step_reads_no_value(classifier_cfg, tmp_path):
    cfg = classifier_cfg(
        tmp_path,
        dict(
            type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4),
        32)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(copy.deepcopy(cfg.model))
        path = str(tmp_path / 'teacher.pth')
        torch.save(dict(state_dict=network.state_dict()), path)
        distiller = MODELS.build(
            dict(
                type='JointDistiller',
                student=cfg.model,
                teacher=dict(cfg=cfg.model.to_dict(), checkpoint=path),
                losses=[
                    dict(type=f'{name}Loss')
                    for name in ('KD', 'FitNet', 'AT', 'FSP', 'NST')
                ]))
        images = torch.zeros(2, 3, 32, 32)
        samples = [
            DataSample(metainfo=dict(sample_idx=i)).set_gt_label(i)
            for i in range(2)
        ]
        distiller.prepare(dict(inputs=images, data_samples=samples))
    phase = Phase('finetune', (), (*distiller.stages, 'head'))
    distiller.prepare_phases([phase], 2)
    distiller.enter_phase(phase)
    with NoReading():
        total, _ = distiller.parse_losses(
            distiller(torch.rand(2, 3, 32, 32), samples, mode='loss'))
        total.backward()


def test_copies_share_the_teacher(distiller):
    assert copy.deepcopy(distiller).teachers[0] is distiller.teachers[0]
