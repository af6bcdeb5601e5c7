# Copyright (c) sskd_mm authors. All rights reserved.
"""Heads that tell identities apart, against their formulas."""
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sskd_mm.models.heads import CosineLinear

HEADS = ['NormSoftmaxHead', 'CosFaceHead', 'ArcFaceHead', 'AdaFaceHead']
each_head = pytest.mark.parametrize('name', HEADS)


class Sample(dict):

    @property
    def gt_label(self):
        return self['gt_label']

    def set_field(self, value, name):
        self[name] = value


def samples(labels):
    return [Sample(gt_label=torch.tensor([int(x)])) for x in labels]


def build(name, classes=5, channels=4, dtype=torch.float64, **options):
    torch.manual_seed(0)
    head = MODELS.build(
        dict(type=name, num_classes=classes, in_channels=channels, **options))
    head.to(dtype)
    nn.init.normal_(head.fc.weight)
    return head


def angles(x, weight):
    x, weight = (
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, weight))
    return np.arccos(x @ weight.T)


def quality(norms, mean=20., std=100., momentum=0.99, h=0.333):
    mean = momentum * norms.mean() + (1 - momentum) * mean
    std = momentum * norms.std(ddof=1) + (1 - momentum) * std
    return np.clip(h * (norms - mean) / (std + 1e-3), -1, 1)


def with_margin(name, angle, norms):
    """Of a sample's angle to its own centre."""
    if name == 'NormSoftmaxHead':
        return np.cos(angle)
    if name == 'CosFaceHead':
        return np.cos(angle) - 0.4
    if name == 'ArcFaceHead':
        return np.where(angle + 0.5 < np.pi, np.cos(angle + 0.5),
                        np.cos(angle) - 0.5 * np.sin(0.5))
    q = quality(norms)
    angle = np.clip(angle - 0.4 * q, 1e-3, np.pi - 1e-3)
    return np.cos(angle) - 0.4 * (1 + q)


@each_head
def test_formula(name):
    head = build(name, scale=10.)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 4)) * rng.uniform(1, 30, (7, 1))
    labels = rng.integers(0, 5, 7)
    # One almost opposite to its centre, beyond half a turn with its margin.
    x[0] = -3 * head.fc.weight[labels[0]].detach().numpy() + 0.05
    angle = angles(x, head.fc.weight.detach().numpy())
    own = angle[np.arange(7), labels]
    assert own.max() + 0.5 > np.pi
    logits = 10 * np.cos(angle)
    logits[np.arange(7), labels] = 10 * with_margin(
        name, own, np.linalg.norm(x, axis=1))
    expected = np.mean(
        np.log(np.exp(logits).sum(1)) - logits[np.arange(7), labels])
    x = torch.from_numpy(x).requires_grad_()
    loss = head.loss((x, ), samples(labels))['loss']
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    # Without a margin its output is the scaled cosines.
    np.testing.assert_allclose(
        head((x, )).detach(), 10 * np.cos(angle), atol=1e-9)


def test_arcface_equals_mmpretrain():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = MODELS.build(
            dict(type='ArcFaceClsHead', num_classes=5, in_channels=4))
    ours = build('ArcFaceHead', dtype=torch.float32)
    theirs.norm_product.weight = ours.fc.weight
    x, labels = torch.randn(40, 4), torch.randint(0, 5, (40, ))
    expected = theirs.loss((x, ), samples(labels))['loss']
    torch.testing.assert_close(
        ours.loss((x, ), samples(labels))['loss'], expected)


def test_adaface_by_quality():
    """The best images have a negative margin of the angle and the largest of
    the cosine, the worst one as ArcFace, what is between one as CosFace."""
    head = build('AdaFaceHead').eval()
    head.norm_mean.fill_(20.)
    head.norm_std.fill_(1.)
    cosine = torch.full((3, ), 0.3, dtype=torch.float64)
    norms = torch.tensor([[90.], [20.], [2.]])
    x = torch.eye(4, dtype=torch.float64)[:3] * norms
    angle = math.acos(0.3)
    expected = [math.cos(angle - 0.4) - 0.8, 0.3 - 0.4, math.cos(angle + 0.4)]
    assert head.add_margin(cosine, x).tolist() == pytest.approx(expected)
    # In eval mode it learns nothing of the norms.
    assert (head.norm_mean, head.norm_std) == (20, 1)
    # A single sample has no deviation, but is no reason to fail.
    head.train()
    assert torch.isfinite(head.add_margin(cosine[:1], x[:1])).all()


@each_head
def test_gradient(name):
    head = build(name, scale=4.).eval()  # whose norms do not change
    labels = samples([0, 1, 2, 1])
    x = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    if name == 'AdaFaceHead':
        # No gradient goes through the quality: keep it at its bound.
        head.norm_std.fill_(1e-6)
    assert torch.autograd.gradcheck(lambda x: head.loss((x, ), labels)['loss'],
                                    x)
    # On its centre and opposite to it.
    x = head.fc.weight.detach()[[0, 1]] * torch.tensor([[1.], [-1.]])
    x.requires_grad_()
    head.loss((x, ), samples([0, 1]))['loss'].backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.fc.weight.grad).all()


@each_head
def test_mixed_precision(name):
    head = build(name, dtype=torch.float32)
    x = torch.randn(6, 4)
    labels = samples([0, 1, 2, 3, 4, 0])
    expected = head.loss((x, ), labels)['loss']
    state = head.state_dict()
    head.load_state_dict(state)
    with torch.autocast('cpu', torch.bfloat16):
        loss = head.loss((x, ), labels)['loss']
    assert loss.dtype == torch.float32
    if name == 'AdaFaceHead':  # it has learned of the norms in between
        torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)
    else:
        assert loss == expected
    half = head.loss((x.half(), ), labels)['loss']
    torch.testing.assert_close(half, expected, rtol=0.05, atol=0)


def test_output_is_that_of_a_linear_layer():
    """Losses of joint distillation look for one."""
    head = build('ArcFaceHead')
    seen = []
    head.fc.register_forward_hook(lambda *args: seen.append(args[1:]))
    x = torch.randn(3, 4, dtype=torch.float64)
    output = head((x, ))
    assert isinstance(head.fc, nn.Linear) and isinstance(head.fc, CosineLinear)
    assert seen[0][0][0] is x and seen[0][1] is output
    head.loss((x, ), samples([0, 1, 2]))
    assert len(seen) == 2 and torch.equal(seen[1][1], output)


@pytest.mark.parametrize('name', ['EmbeddingHead', 'ArcFaceHead'])
def test_predicts_the_embedding(name):
    head = build(name) if name != 'EmbeddingHead' else MODELS.build(
        dict(type=name))
    x = torch.randn(3, 4, dtype=torch.float64)
    for result in (head.predict((x, ), samples([0, 1, 2])),
                   [x.to_dict() for x in head.predict((x, ))]):
        assert torch.equal(torch.stack([r['embedding'] for r in result]), x)
    if name == 'EmbeddingHead':
        assert not list(head.parameters()) and head((x, )) is x
        with pytest.raises(RuntimeError, match='nothing to train'):
            head.loss((x, ), samples([0, 1, 2]))


# --- Sampled classes --------------------------------------------------------


@each_head
def test_a_sample_of_all_is_all(name):
    """With a share below one that has room for every class."""
    x = torch.randn(40, 4, dtype=torch.float64)
    labels = samples(torch.randint(0, 30, (40, )))
    whole, sampled = (
        build(name, 30, sample_rate=rate) for rate in (1., 0.99))
    losses = [h.loss((x, ), labels)['loss'] for h in (whole, sampled)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(whole.fc.weight.grad, sampled.fc.weight.grad)


def test_sampled_classes():
    head = build('ArcFaceHead', 1000, sample_rate=0.1)
    labels = torch.tensor([7, 999, 7, 0])
    drawn = [head.sample_classes(labels) for _ in range(40)]
    for classes in drawn:
        assert len(classes) == 100 == len(classes.unique())
        assert torch.equal(classes, classes.sort().values)
        assert {0, 7, 999} <= set(classes.tolist())
    # Every other class comes up about as often: 97 of 997 in each step.
    counts = torch.bincount(torch.cat(drawn), minlength=1000).double()
    counts = counts[[i for i in range(1000) if i not in (0, 7, 999)]]
    assert counts.mean() == pytest.approx(40 * 97 / 997)
    assert counts.max() < 20
    # More classes in the batch than the share has room for: none is lost.
    classes = head.sample_classes(torch.arange(0, 1000, 5))
    assert set(range(0, 1000, 5)) <= set(classes.tolist())


def test_loss_over_sampled_classes(monkeypatch):
    head = build('CosFaceHead', 20, sample_rate=0.2, scale=10.)
    chosen = torch.tensor([1, 4, 9, 16])
    monkeypatch.setattr(head, 'sample_classes', lambda labels: chosen)
    x = torch.randn(2, 4, dtype=torch.float64)
    loss = head.loss((x, ), samples([9, 1]))['loss']
    smaller = build('CosFaceHead', 4, scale=10.)
    smaller.fc.weight.data = head.fc.weight.data[chosen]
    torch.testing.assert_close(
        loss,
        smaller.loss((x, ), samples([2, 0]))['loss'])
    loss.backward()
    touched = head.fc.weight.grad.abs().sum(1) > 0
    assert touched.nonzero()[:, 0].tolist() == chosen.tolist()


class _Loss(nn.Module):
    """DDP wraps what is called."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x, labels):
        return self.head.loss((x, ), samples(labels))['loss']


def _batch():
    torch.manual_seed(3)
    return (torch.randn(8, 4, dtype=torch.float64),
            torch.tensor([0, 17, 33, 5, 5, 49, 2, 20]))


def _process(rank, folder):
    dist.init_process_group(
        'gloo', f'file://{folder}/store', rank=rank, world_size=2)
    for name in HEADS:
        model = _Loss(build(name, 50, sample_rate=0.5))
        parallel = DistributedDataParallel(model)
        x, labels = _batch()
        mine = slice(rank * 4, rank * 4 + 4)
        # What each would draw by itself differs.
        torch.manual_seed(11 if rank == 0 else 12)
        parallel(x[mine], labels[mine]).backward()
        torch.save((model.head.fc.weight.grad, model.head.state_dict()),
                   f'{folder}/{name}_{rank}.pth')
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    torch.multiprocessing.spawn(_process, (str(tmp_path), ), nprocs=2)
    for name in HEADS:
        head = build(name, 50, sample_rate=0.5)
        x, labels = _batch()
        torch.manual_seed(11)
        _Loss(head)(x, labels).backward()
        for rank in range(2):
            grad, state = torch.load(
                tmp_path / f'{name}_{rank}.pth', weights_only=True)
            torch.testing.assert_close(grad, head.fc.weight.grad)
            for key, value in head.state_dict().items():
                torch.testing.assert_close(state[key], value)
        # It did draw: half of the centres were left out.
        assert int((grad.abs().sum(1) > 0).sum()) == 25


@pytest.mark.parametrize('options, message', [
    (dict(num_classes=0), 'number of identities'),
    (dict(num_classes=5, sample_rate=0.), 'above 0 and at most 1'),
    (dict(num_classes=5, sample_rate=1.5), 'above 0 and at most 1'),
])
def test_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='ArcFaceHead', **options))


def test_mixed_images():
    head = build('ArcFaceHead')
    mixed = samples([0, 1])
    mixed[0]['gt_score'] = torch.rand(5)
    with pytest.raises(ValueError, match='remove train_cfg.augments'):
        head.loss((torch.rand(2, 4), ), mixed)
