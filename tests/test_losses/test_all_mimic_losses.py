# Copyright (c) sskd_mm authors. All rights reserved.
"""What holds for each loss alike."""
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

import sskd_mm.losses
from sskd_mm.losses import __all__ as NAMES

# Without their bases, which no config can name.
CONFIGS = [dict(type=name) for name in NAMES if name in MODELS.module_dict] + [
    dict(type='L2MimicLoss', normalize=True),
    dict(type='AttentionMimicLoss', power=1),
    dict(type='ContrastiveMimicLoss', over='positions'),
    dict(type='ContrastiveMimicLoss', over='positions', max_positions=16),
]
MAP, TOKENS, EMBEDDING = (2, 3, 4, 5), (2, 20, 3), (6, 3)
# These compare positions, of which an embedding has but one.
NEED_POSITIONS = ('AttentionMimicLoss', 'ChannelWiseMimicLoss',
                  'NSTMimicLoss')


def _ids(cfg):
    return '-'.join(str(value) for value in cfg.values())


each_loss = pytest.mark.parametrize('cfg', CONFIGS, ids=_ids)


def _features(loss, shape=MAP, dtype=torch.float32):
    """Random features, as many as the loss takes."""
    torch.manual_seed(0)
    features = [torch.randn(shape, dtype=dtype) for _ in range(2)]
    if getattr(loss, 'uses_previous_tap', False):
        shape = (2, 4, 8, 10) if shape == MAP else shape
        features += [torch.randn(shape, dtype=dtype) for _ in range(2)]
    return features


@each_loss
def test_build(cfg):
    loss = MODELS.build(cfg)
    assert isinstance(loss, nn.Module)
    assert type(loss) is getattr(sskd_mm.losses, cfg['type'])
    assert not list(loss.parameters())
    value = loss(*_features(loss))
    assert value.shape == () and value > 0


@each_loss
@pytest.mark.parametrize('shape', [MAP, TOKENS, EMBEDDING], ids=len)
def test_gradient(cfg, shape):
    loss = MODELS.build(cfg)
    if shape == EMBEDDING and cfg['type'] in NEED_POSITIONS:
        with pytest.raises(ValueError, match='a single position'):
            loss(*_features(loss, shape))
        return
    features = _features(loss, shape, torch.double)
    for feature in features[::2]:  # the student's
        feature.requires_grad_()
    assert torch.autograd.gradcheck(loss, features)
    assert loss(*features).dtype == torch.double


@each_loss
def test_tokens_are_a_map_in_another_order(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss, dtype=torch.double)
    if len(features) > 2:  # tokens are not pooled in two dimensions
        features[2:] = [x[..., ::2, ::2] for x in features[2:]]
    tokens = [x.flatten(2).transpose(1, 2) for x in features]
    torch.testing.assert_close(loss(*tokens), loss(*features))


@each_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(cfg, dtype):
    loss = MODELS.build(cfg)
    # Squares of these overflow in float16.
    features = [300 * x for x in _features(loss)]
    halves = [x.to(dtype) for x in features]
    value = loss(*halves)
    assert value.dtype == torch.float32
    assert value == loss(*[x.float() for x in halves])
    assert value.item() == pytest.approx(loss(*features).item(), rel=0.03)


@each_loss
def test_autocast_does_not_lower_the_precision(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss)
    expected = loss(*features)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss(*features) == expected


@each_loss
@pytest.mark.parametrize('student', [None, 0., 0.3, 1234.5])
@pytest.mark.parametrize('teacher', [None, 0., 0.3, 1234.5])
def test_silent_and_constant_features(cfg, student, teacher):
    loss = MODELS.build(cfg)
    features = _features(loss)
    for i, constant in enumerate([student, teacher] * (len(features) // 2)):
        if constant is not None:
            features[i].fill_(constant)
    for feature in features[::2]:
        feature.requires_grad_()
    value = loss(*features)
    value.backward()
    assert torch.isfinite(value)
    for feature in features[::2]:
        assert torch.isfinite(feature.grad).all()


@pytest.mark.parametrize(
    'cfg',
    # That one has another minimum.
    [cfg for cfg in CONFIGS if cfg['type'] != 'ContrastiveMimicLoss'],
    ids=_ids)
def test_perfect_copy(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss)
    for i in range(0, len(features), 2):
        features[i] = features[i + 1].clone().requires_grad_()
    value = loss(*features)
    assert value.item() == pytest.approx(0, abs=1e-6)
    # It is a minimum.
    value.backward()
    assert features[0].grad.abs().max() < 1e-6


@each_loss
def test_descends_to_the_teacher(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss)
    features[0].requires_grad_()
    before = loss(*features)
    grad, = torch.autograd.grad(before, features[0])
    features[0] = features[0] - 0.01 * grad / grad.norm()
    assert loss(*features) < before


@each_loss
@pytest.mark.filterwarnings('ignore:There is a performance drop')
def test_does_not_wait_for_values(cfg):
    """``vmap`` refuses ``.item()`` and branches on values."""
    loss = MODELS.build(cfg)
    features = _features(loss)
    batched = torch.func.vmap(loss)(*[x[None] for x in features])
    torch.testing.assert_close(batched[0], loss(*features))


@each_loss
def test_shapes_must_agree(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss)
    features[1] = torch.rand(2, 3, 8, 10)
    with pytest.raises(
            ValueError,
            match=r'student\'s feature \(2, 3, 4, 5\) and the teacher\'s '
            r'\(2, 3, 8, 10\) differ in .*; they need an adapter'):
        loss(*features)


@each_loss
def test_other_kinds_of_features(cfg):
    loss = MODELS.build(cfg)
    features = _features(loss, (2, 3, 4, 5, 6))
    if cfg['type'] in ('L2MimicLoss', 'SmoothL1MimicLoss'):
        assert torch.isfinite(loss(*features))  # any shape
        return
    with pytest.raises(
            ValueError, match=r'\(2, 3, 4, 5, 6\) is neither .*H, W.*L, C'):
        loss(*features)
