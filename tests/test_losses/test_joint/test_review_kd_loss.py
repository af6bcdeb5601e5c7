# Copyright (c) sskd_mm authors. All rights reserved.
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from sskd_mm.losses.joint import Knowledge


def knowledge(*shapes, seed=0):
    """Random features of the given (C, size), of four samples; the embedding
    is as wide as the last."""
    generator = torch.Generator().manual_seed(seed)
    maps = [
        torch.randn(4, channels, size, size, generator=generator)
        for channels, size in (*shapes, (shapes[-1][0], 1))
    ]
    return Knowledge(tuple(maps[:-1]), maps[-1].flatten(1), None)


def prepared(student, teacher, **options):
    torch.manual_seed(0)
    loss = MODELS.build(
        dict(type='ReviewKDLoss', **{
            'warmup_epochs': 0,
            **options
        }))
    loss.prepare(student, teacher, 100)
    return loss


def compute(loss, student, teacher):
    return loss(student, teacher, torch.zeros(4).long(), torch.arange(4))


def pool(x, size):
    """Means over a grid of cells; for sides that divide."""
    n, c, h, w = x.shape
    return x.reshape(n, c, size, h // size, size, w // size).mean((3, 5))


@pytest.mark.parametrize('size, levels', [(16, (4, 2, 1)), (8, (4, 2, 1)),
                                          (4, (2, 1)), (2, (1, )), (1, ())])
def test_distance_against_numpy(size, levels):
    student, teacher = np.random.default_rng(0).standard_normal(
        (2, 3, 5, size, size))
    expected, total = np.mean((student - teacher)**2), 1
    for number, level in enumerate(levels, 1):
        expected += np.mean(
            (pool(student, level) - pool(teacher, level))**2) / 2**number
        total += 1 / 2**number
    loss = MODELS.build(dict(type='ReviewKDLoss'))
    value = loss._distance(torch.tensor(student), torch.tensor(teacher))
    assert value.item() == pytest.approx(expected / total)


class Reference:
    """What the paper's Figure 3 draws, in numpy, with a loss's weights.

    Batch norm takes its statistics from the batch.
    """

    def __init__(self, fusion):
        self.weights = {
            key: value.detach().numpy().astype(float)
            for key, value in fusion.state_dict().items()
        }

    def conv(self, name, x):
        weight = self.weights[f'{name}.weight']
        pad = weight.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        out = np.zeros((len(x), len(weight), *x.shape[2:]))
        for dy, dx in np.ndindex(weight.shape[2:]):
            window = padded[:, :, dy:dy + x.shape[2], dx:dx + x.shape[3]]
            out += np.einsum('oc,nchw->nohw', weight[:, :, dy, dx], window)
        return out

    @staticmethod
    def norm(x):
        mean, var = [
            f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var)
        ]
        return (x - mean) / np.sqrt(var + 1e-5)

    def __call__(self, feature, deeper, size):
        fused = self.norm(self.conv('reduce.conv', feature))
        if deeper is not None:
            times = fused.shape[-1] // deeper.shape[-1]
            deeper = deeper.repeat(times, 2).repeat(times, 3)
            maps = self.conv('attention', np.concatenate([fused, deeper], 1))
            maps += self.weights['attention.bias'][:, None, None]
            maps = 1 / (1 + np.exp(-maps))
            fused = fused * maps[:, [0]] + deeper * maps[:, [1]]
        times = size // fused.shape[-1]
        fused = fused.repeat(times, 2).repeat(times, 3)
        return self.norm(self.conv('expand.conv', fused)), fused


def test_against_numpy():
    # Other widths, and the second tap of another size.
    student = knowledge((3, 8), (5, 2))
    teacher = knowledge((4, 8), (7, 4), seed=1)
    loss = prepared(student, teacher)
    levels = [(student.embedding[..., None, None], teacher.embedding[..., None,
                                                                     None]),
              (student.features[1], teacher.features[1]),
              (student.features[0], teacher.features[0])]
    expected, fused = 0, None
    for fusion, (ours, theirs) in zip(loss.fusions, levels):
        out, fused = Reference(fusion)(ours.double().numpy(), fused,
                                       theirs.shape[-1])
        expected += loss._distance(torch.tensor(out), theirs.double()).item()
    value = compute(loss, student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_shallow_features_do_not_reach_deep_comparisons():
    student = knowledge((3, 8), (5, 4))
    loss = prepared(student, student).eval()
    for feature in (*student.features, student.embedding):
        feature.requires_grad_()
    fusions = loss.fusions
    out, fused = fusions[0](student.embedding[..., None, None], None, (1, 1))
    out, fused = fusions[1](student.features[1], fused, (4, 4))
    grads = torch.autograd.grad(
        out.sum(), (*student.features, student.embedding), allow_unused=True)
    assert grads[0] is None
    assert grads[1].abs().sum() > 0
    assert grads[2].abs().sum() > 0  # the deeper one reaches the shallower


def test_modules():
    loss = prepared(knowledge((3, 8), (700, 4)), knowledge((4, 8), (7, 4)))
    # From the last to the first: the embedding, then the two taps.
    assert [f.reduce.conv.in_channels for f in loss.fusions] == [700, 700, 3]
    assert [f.expand.conv.out_channels for f in loss.fusions] == [7, 7, 4]
    assert [f.attention is None for f in loss.fusions] == [True, False, False]
    assert {f.reduce.conv.out_channels for f in loss.fusions} == {512}
    for fusion in loss.fusions:
        assert fusion.reduce.conv.bias is fusion.expand.conv.bias is None
        assert isinstance(fusion.expand.norm, nn.BatchNorm2d)
        # Kaiming's uniform bound for a=1 is sqrt(3 / fan-in).
        bound = (3 / fusion.expand.conv.weight[0].numel())**0.5
        largest = fusion.expand.conv.weight.abs().max()
        assert 0.9 * bound < largest <= bound


def test_warms_up():
    student, teacher = knowledge((3, 8)), knowledge((4, 8), seed=1)
    warm = compute(prepared(student, teacher), student, teacher)
    cold = compute(
        prepared(student, teacher, warmup_epochs=20), student, teacher)
    torch.testing.assert_close(cold, warm / 20)


def test_learns_a_teacher():
    """With its fusions alone, from fixed features of the same content."""
    student = knowledge((6, 4))
    teacher = Knowledge((student.features[0].relu(), ),
                        student.embedding.relu(), None)
    loss = prepared(student, teacher)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        values.append(compute(loss, student, teacher))
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.3 * values[0]


def test_number_of_taps_must_agree():
    with pytest.raises(
            ValueError, match='student has 2 taps and the teacher 1; .* one'):
        prepared(knowledge((3, 8), (5, 4)), knowledge((3, 8)))


def test_one_sample():
    student, teacher = knowledge((3, 8)), knowledge((4, 8))
    loss = prepared(student, teacher)
    one = [
        Knowledge((k.features[0][:1], ), k.embedding[:1], None)
        for k in (student, teacher)
    ]
    with pytest.raises(ValueError, match='at least 2 samples; .*drop_last'):
        loss(*one, torch.zeros(1).long(), torch.arange(1))
    assert torch.isfinite(loss.eval()(*one, torch.zeros(1).long(),
                                      torch.arange(1)))
