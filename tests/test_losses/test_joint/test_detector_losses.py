# Copyright (c) sskd_mm authors. All rights reserved.
"""The losses of detectors' features against their formulas."""
import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from sskd_mm.losses.joint import Knowledge
from sskd_mm.losses.objects import Objects

IMAGE = (64, 48)
#: Of two levels; of the second the widths differ.
STUDENT = ((4, 8, 6), (6, 4, 3))
TEACHER = ((4, 8, 6), (4, 4, 3))
FOREGROUND = dict(
    type='FeatureLoss', mimic_loss=dict(type='L2MimicLoss', foreground=0.7))
LOSSES = {
    'MGDLoss': dict(type='MGDLoss'),
    'FGDLoss': dict(type='FGDLoss'),
    'FeatureLoss': FOREGROUND
}
READING = (torch.ops.aten._local_scalar_dense.default,
           torch.ops.aten.nonzero.default)

each_loss = pytest.mark.parametrize('cfg', LOSSES.values(), ids=LOSSES)


class NoReading(TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in READING, f'{func} needs a value'
        return func(*args, **(kwargs or {}))


def pair(dtype=torch.float32, scale=1.):
    torch.manual_seed(0)
    return [
        Knowledge(
            tuple((scale * torch.randn(2, *shape)).to(dtype)
                  for shape in shapes)) for shapes in (STUDENT, TEACHER)
    ]


def objects(*boxes):
    """Two images, the second without an object."""
    boxes = torch.tensor(boxes or [(10., 12, 34, 30), (0, 0, 18, 25)])
    return Objects((boxes.view(-1, 4), torch.zeros(0, 4)), IMAGE)


def prepared(cfg, student, teacher):
    loss = MODELS.build(cfg)
    loss.prepare(student, teacher, 100)
    torch.manual_seed(1)
    # The blocks of FGD begin with zeros, where nothing can be told apart.
    for param in loss.parameters():
        torch.nn.init.normal_(param, std=0.3)
    return loss


def compute(loss, student, teacher, where=None):
    torch.manual_seed(2)
    return loss(student, teacher, where or objects(), None)


# --- The formulas -----------------------------------------------------------


def test_mgd():
    student, teacher = pair(torch.double)
    loss = prepared(dict(type='MGDLoss', mask_ratio=0.4), student,
                    teacher).double()
    value = compute(loss, student, teacher)
    torch.manual_seed(2)
    expected = 0
    for i, (s, t) in enumerate(zip(student.features, teacher.features)):
        s = loss.adapters[i](s, t.shape)
        mask = (torch.rand(2, 1, *s.shape[2:], dtype=s.dtype) >= 0.4).double()
        assert 0 < mask.mean() < 1
        first, _, second = loss.generators[i]
        hidden = torch.conv2d(s * mask, first.weight, first.bias, padding=1)
        restored = torch.conv2d(
            hidden.clamp(min=0), second.weight, second.bias, padding=1)
        expected += ((t - restored)**2).sum((1, 2, 3)).mean()
    torch.testing.assert_close(value, expected)


def test_mgd_hides_the_share_that_is_asked_for():
    torch.manual_seed(0)
    maps = [Knowledge((torch.ones(4, 3, 64, 64), )) for _ in range(2)]
    loss = MODELS.build(dict(type='MGDLoss', mask_ratio=0.65))
    loss.prepare(*maps, 100)
    seen = []
    loss.generators[0].register_forward_pre_hook(
        lambda module, args: seen.append(args[0].mean()))
    for _ in range(2):
        loss(*maps, None, None)
    assert seen[0] != seen[1]
    assert seen[0].item() == pytest.approx(0.35, abs=0.02)


def test_fgd():
    student, teacher = pair(torch.double)
    a, b, c, d, temperature = 0.3, 0.2, 0.05, 0.01, 0.7
    loss = prepared(
        dict(
            type='FGDLoss',
            foreground=a,
            background=b,
            attention=c,
            relation=d,
            temperature=temperature), student, teacher).double()
    value = compute(loss, student, teacher)

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    def context(block, x):
        """GCNet's block for one image (C, P)."""
        weights = {k: v.detach().numpy() for k, v in block.named_parameters()}
        mask = weights['conv_mask.weight'][0, :, 0, 0]
        pooled = x @ softmax(mask @ x + weights['conv_mask.bias'])
        name = 'channel_add_conv.'
        h = (weights[name + '0.weight'][:, :, 0, 0] @ pooled +
             weights[name + '0.bias'])
        h = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
        h = (h * weights[name + '1.weight'].ravel() +
             weights[name + '1.bias'].ravel())
        h = (weights[name + '3.weight'][:, :, 0, 0] @ h.clip(0) +
             weights[name + '3.bias'])
        return x + h[:, None]

    # Cells of 8 x 8: the first box has rows 1 to 3, columns 1 to 4, the
    # second rows 0 to 3, columns 0 to 2; both are of 12 cells.
    # Cells of 16 x 16: rows 0 and 1, columns 0 to 2 and 0 to 1.
    shares = [np.zeros((8, 6)), np.zeros((4, 3))]
    shares[0][1:4, 1:5] = shares[0][:4, :3] = 1 / 12
    shares[1][:2] = 1 / 6
    shares[1][:2, :2] = 1 / 4
    expected = 0
    for i, (s, t) in enumerate(zip(student.features, teacher.features)):
        s = loss.adapters[i](s, t.shape).detach()
        for n in range(2):
            share = (shares[i] if n == 0 else 0 * shares[i]).ravel()
            outside = (share == 0) / (share == 0).sum()
            x, y = (z[n].flatten(1).numpy() for z in (s, t))
            places = [
                z.shape[1] * softmax(abs(z).mean(0) / temperature)
                for z in (x, y)
            ]
            channels = [
                z.shape[0] * softmax(abs(z).mean(1) / temperature)
                for z in (x, y)
            ]
            total = 0
            for k in range(len(x)):
                for p in range(x.shape[1]):
                    total += (a * share[p] + b * outside[p]) * (
                        places[1][p] * channels[1][k] *
                        (y[k, p] - x[k, p])**2)
            total += c * (
                abs(places[0] - places[1]).sum() +
                abs(channels[0] - channels[1]).sum())
            total += d * ((context(loss.blocks[1][i], y) -
                           context(loss.blocks[0][i], x))**2).sum()
            expected += total / 2
    assert value.item() == pytest.approx(expected)


def test_fgd_takes_the_smallest_object_at_a_place():
    loss = MODELS.build(dict(type='FGDLoss', foreground=1, background=0))
    where = objects((0., 0, 48, 64), (8, 8, 24, 24), (8, 8, 16, 40))
    weights = loss._weights(where, (8, 6))
    expected = torch.full((8, 6), 1 / 48)
    expected[1:3, 1:3] = expected[1:5, 1:2] = 1 / 4
    torch.testing.assert_close(weights[0], expected)


@pytest.mark.parametrize('loss', ['L2', 'Pearson', 'ChannelWise'])
def test_feature_loss_sums_over_levels(loss):
    student, teacher = pair(torch.double)
    distance = dict(type=f'{loss}MimicLoss')
    joint = prepared(
        dict(type='FeatureLoss', mimic_loss=distance), student,
        teacher).double()
    distance = MODELS.build(distance)
    expected = sum(
        distance(adapter(s, t.shape), t) for adapter, s, t in zip(
            joint.adapters, student.features, teacher.features))
    assert not joint.needs
    assert joint(student, teacher, None, None) == expected


def test_feature_loss_looks_at_objects():
    student, teacher = pair(torch.double)
    loss = prepared(FOREGROUND, student, teacher).double()
    expected = 0
    for adapter, s, t in zip(loss.adapters, student.features,
                             teacher.features):
        distance = ((adapter(s, t.shape) - t)**2).mean(1)
        inside = torch.zeros_like(distance, dtype=torch.bool)
        k = len(distance[0]) // 4
        inside[0, :2 * k, :3 * k // 2] = True
        if k == 2:
            inside[0, 1:4, 1:5] = True
        else:
            inside[0, :2, :3] = True
        expected += (0.7 * distance[inside].mean() +
                     0.3 * distance[~inside].mean())
    torch.testing.assert_close(compute(loss, student, teacher), expected)


# --- What holds for each alike ----------------------------------------------


@each_loss
def test_gradient_reaches_student_and_loss_alone(cfg):
    student, teacher = pair()
    for x in (*student.features, *teacher.features):
        x.requires_grad_()
    teacher_features = tuple(x.detach() for x in teacher.features)
    loss = prepared(cfg, student, teacher)
    value = compute(loss, student, Knowledge(teacher_features))
    assert value.shape == () and value > 0 and value.dtype == torch.float32
    value.backward()
    for x in (*student.features, *loss.parameters()):
        assert torch.isfinite(x.grad).all() and x.grad.abs().max() > 0


@each_loss
def test_finite_differences(cfg):
    student, teacher = pair(torch.double)
    loss = prepared(cfg, student, teacher).double()
    features = [x.requires_grad_() for x in student.features]
    assert torch.autograd.gradcheck(
        lambda *x: compute(loss, Knowledge(x), teacher),
        features,
        fast_mode=True)


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(cfg, dtype):
    # Squares of these overflow in float16.
    halves = pair(dtype, 300)
    loss = prepared(cfg, *pair())
    loss.adapters.to(dtype)
    value = compute(loss, *halves)
    assert value.dtype == torch.float32 and torch.isfinite(value)


@each_loss
def test_channels_last(cfg):
    student, teacher = pair()
    loss = prepared(cfg, student, teacher)
    expected = compute(loss, student, teacher)
    last = [
        Knowledge(
            tuple(
                x.to(memory_format=torch.channels_last)
                for x in each.features)) for each in (student, teacher)
    ]
    torch.testing.assert_close(compute(loss, *last), expected)


@each_loss
def test_autocast(cfg):
    student, teacher = pair()
    loss = prepared(cfg, student, teacher)
    expected = compute(loss, student, teacher)
    with torch.autocast('cpu', torch.bfloat16):
        value = compute(loss, student, teacher)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0.03, atol=0)


@each_loss
def test_a_step_reads_no_value(cfg):
    student, teacher = pair()
    loss = prepared(cfg, student, teacher)
    for x in student.features:
        x.requires_grad_()
    with NoReading():
        value = compute(loss, student, teacher)
        value.backward()
        with pytest.raises(AssertionError, match='needs a value'):
            bool(value > 0)


@each_loss
@pytest.mark.parametrize('scale', [0., 1e-3, 1e3])
@pytest.mark.parametrize('boxes', [[()], [(0., 0, 48, 64)]],
                         ids=['none', 'all'])
def test_dead_and_large_students(cfg, scale, boxes):
    student, teacher = pair()
    loss = prepared(cfg, student, teacher)
    features = [(scale * x).requires_grad_() for x in student.features]
    value = compute(loss, Knowledge(tuple(features)), teacher,
                    objects(*boxes))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(x.grad).all() for x in features)


@pytest.mark.parametrize('name', ['MGDLoss', 'FGDLoss'])
def test_no_maps(name):
    maps = [Knowledge((torch.rand(2, 9, 4), ))] * 2
    with pytest.raises(ValueError, match=f'{name} compares maps'):
        MODELS.build(dict(type=name)).prepare(*maps, 100)


@pytest.mark.parametrize('ratio', [-0.1, 1., math.nan])
def test_no_ratio(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio is {ratio}'):
        MODELS.build(dict(type='MGDLoss', mask_ratio=ratio))
