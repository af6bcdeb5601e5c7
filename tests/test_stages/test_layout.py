# Copyright (c) sskd_mm authors. All rights reserved.
import logging

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.stages import (find_layouts, from_canonical, parse_stages,
                            run_prefix, to_canonical)


class Network(nn.Module):
    """Applies a function to the images at its tap."""

    def __init__(self, function, size=None):
        super().__init__()
        self.tap = nn.Identity()
        self.function, self.size = function, size

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert self.size in (None, inputs.shape[-2:])
        return self.tap(self.function(inputs))


def pyramid(stride, channels, order=(0, 1, 2, 3)):
    return lambda x: F.avg_pool2d(x[:, :1].expand(-1, channels, -1, -1),
                                  stride).permute(order)


NHWC = (0, 2, 3, 1)


def find(network, size, **entry):
    stages = parse_stages([dict(student='tap', teacher='tap', **entry)],
                          network, [network])
    return find_layouts(network, stages, 0, torch.rand(2, 3, *size))['tap']


@pytest.mark.parametrize('size', [(64, 64), (48, 64), (100, 36)])
@pytest.mark.parametrize('channels', [2, 7, 8, 9, 12, 24])
@pytest.mark.parametrize('stride', [4, 8, 16])
def test_a_map(size, channels, stride):
    """For channels at either end, and any number of them."""
    for order, layout in (((0, 1, 2, 3), 'NCHW'), (NHWC, 'NHWC')):
        assert find(Network(pyramid(stride, channels, order)),
                    size) == (layout, )


def test_sides_that_shrink_differently():
    """Neither layout has the image's proportions, as in text recognition."""
    for order, layout in (((0, 1, 2, 3), 'NCHW'), (NHWC, 'NHWC')):
        network = Network(pyramid((32, 4), 16, order))
        assert find(network, (32, 100)) == (layout, )


def test_pooled_to_one_size():
    for order, layout in (((0, 1, 2, 3), 'NCHW'), (NHWC, 'NHWC')):
        for side in (1, 7):
            network = Network(lambda x: F.adaptive_avg_pool2d(
                x[:, :1], side).expand(-1, 20, -1, -1).permute(order))
            assert find(network, (48, 100)) == (layout, )


def test_a_single_channel():
    assert find(Network(pyramid(8, 1)), (64, 64)) == ('NCHW', )
    # Pooled over columns, these 8 channels look like rows.
    network = Network(lambda x: pyramid(8, 8)(x).mean(3, keepdim=True))
    with pytest.raises(ValueError, match=r'\(8, 8, 1\).* does not decide'):
        find(network, (64, 64))


def test_the_network_is_left_as_it_is():
    network = Network(pyramid(8, 8))
    network.tap = nn.Sequential(nn.BatchNorm2d(8), nn.Dropout(), nn.ReLU())
    network.train()
    network.tap[2].eval()
    state = {k: v.clone() for k, v in network.state_dict().items()}
    find(network, (64, 64))
    assert [m.training for m in network.tap] == [True, True, False]
    assert all(torch.equal(network.state_dict()[k], state[k]) for k in state)


def test_levels_and_kinds_of_one_tap():
    network = Network(
        lambda x: (pyramid(4, 8, NHWC)(x), pyramid(8, 8, NHWC)(x),
                   pyramid(8, 8)(x).flatten(2).mT, x.mean((2, 3))))
    assert find(network, (32, 32)) == ('NHWC', 'NHWC', 'NLC', 'NC')
    assert find(
        network, (32, 32), layout='NCL') == ('NHWC', 'NHWC', 'NCL', 'NC')


def test_the_other_levels_tell():
    """A network of fixed input size, where one level has as many channels as
    rows."""

    def levels(order):
        return lambda x: [pyramid(k, 16, order)(x) for k in (2, 4, 8)]

    for order, layout in (((0, 1, 2, 3), 'NCHW'), (NHWC, 'NHWC')):
        network = Network(levels(order), size=(64, 64))
        assert find(network, (64, 64)) == (layout, ) * 3


def test_convolutions_put_channels_first():
    network = Network(lambda x: x, size=(64, 64))
    network.tap = nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), nn.ReLU())
    assert find(network, (64, 64)) == ('NCHW', )
    network.tap.append(nn.Linear(16, 16))
    with pytest.raises(ValueError, match='Write dict.*layout='):
        find(network, (64, 64))


def test_what_nothing_tells_is_asked_for():
    """Following the message settles it."""
    for role, number in (('student', 0), ('teacher', 1)):
        network = Network(pyramid(8, 8, NHWC), size=(64, 64))
        stages = parse_stages(['tap'], network, [network])
        inputs = torch.rand(2, 3, 64, 64)
        with pytest.raises(ValueError, match=f"the {role}'s tap") as error:
            find_layouts(network, stages, number, inputs)
        text = str(error.value)
        entry = eval(text[text.index('dict('):text.index(' in the list')])
        assert entry['layout'] == {role: 'NCHW'}
        entry['layout'][role] = 'NHWC'
        stages = parse_stages([entry], network, [network])
        assert find_layouts(network, stages, number,
                            inputs) == dict(tap=('NHWC', ))


def test_what_was_said_before_stays_in_the_text():
    network = Network(pyramid(8, 8, NHWC), size=(64, 64))
    entry = dict(student='tap', teacher=['tap', 'tap'], name='x')
    for said, layout in ((None, dict(teacher=[None, 'NCHW'])),
                         (dict(student='NHWC', teacher=['NCHW', None]),
                          dict(student='NHWC', teacher=['NCHW', 'NCHW']))):
        stages = parse_stages([dict(entry, layout=said)], network,
                              [network] * 2)
        with pytest.raises(ValueError) as error:
            find_layouts(network, stages, 2, torch.rand(1, 3, 64, 64))
        text = str(error.value)
        assert eval(text[text.index('dict('):text.index(' in the list')]
                    ) == dict(entry, layout=layout)


@pytest.mark.parametrize('function, message', [
    (lambda x: pyramid(8, 16)(x)[:, None], r'(?s)are unknown.*whole backbone'
     r".*layout=dict\(student='NLHWC'\)"),
    (lambda x: x.mean((1, 2, 3)), r'outputs \(2,\); features .* as maps'),
    (lambda x: pyramid(8, 16)(x).flatten(2).permute(2, 0, 1),
     r"first axis .* layout=dict\(student='LNC'\)"),
    (lambda x: pyramid(8, 16)(x).repeat(4, 1, 1, 1),
     r'\(8, 16, 8, 8\) for 2 images.* windows'),
])
def test_what_cannot_be_compared_says_what_to_do(function, message):
    with pytest.raises(ValueError, match=message):
        find(Network(function), (64, 64))


def test_said_must_fit():
    with pytest.raises(ValueError, match="layout='NLC' names 3 axes"):
        find(Network(pyramid(8, 16)), (64, 64), layout='NLC')


def test_said_holds(monkeypatch, caplog):
    monkeypatch.setattr(MMLogger, 'get_current_instance',
                        lambda: logging.getLogger())
    network = Network(pyramid(8, 16, NHWC))
    assert find(network, (64, 64), layout='NHWC') == ('NHWC', )
    assert not caplog.text
    assert find(network, (64, 64), layout='NCHW') == ('NCHW', )
    assert 'looks like (N, H, W, C)' in caplog.text


@pytest.mark.parametrize('layout, shape', [
    ('NCHW', (2, 3, 4, 6)),
    ('NHWC', (2, 4, 6, 3)),
    ('NWHC', (2, 6, 4, 3)),
    ('NLC', (2, 24, 3)),
    ('NCL', (2, 3, 24)),
    ('LNC', (24, 2, 3)),
    ('NC', (2, 3)),
    ('NLHWC', (2, 6, 2, 2, 3)),
])
def test_there_and_back(layout, shape):
    """A feature is passed on in the network's own memory layout."""
    output = torch.rand(shape)
    feature, = to_canonical([output], [layout], (64, 96))
    assert feature.shape == {
        2: (2, 3),
        3: (2, 24, 3),
        4: (2, 3, 4, 6),
        5: (2, 3, 4, 6)
    }[len(shape)]
    again, = from_canonical([feature.contiguous()], [layout], [output])
    assert torch.equal(again, output) and again.is_contiguous()


def test_channels_last_is_not_copied():
    output = torch.rand(2, 4, 6, 3)
    feature, = to_canonical([output], ['NHWC'], (64, 96))
    assert feature.data_ptr() == output.data_ptr()
    assert feature.is_contiguous(memory_format=torch.channels_last)


# --- Networks of mmpretrain -------------------------------------------------


def build(**backbone):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(dict(type='ImageClassifier',
                                 backbone=backbone)).eval()


def canonical(model, tap, inputs):
    stages = parse_stages([tap], model, [model])
    layouts = find_layouts(model, stages, 0, inputs)
    return layouts[tap], to_canonical(
        run_prefix(model, [tap], inputs)[tap], layouts[tap],
        inputs.shape[-2:])[0]


@pytest.mark.parametrize('size', [(32, 32), (32, 64)])
def test_vit_sam(size):
    model = build(
        type='ViTSAM',
        arch=dict(
            embed_dims=8,
            num_layers=2,
            num_heads=1,
            feedforward_channels=8,
            global_attn_indexes=[1]),
        # 4 x 4 x 8, and 8 x 8 x 8 at twice the size.
        patch_size=8,
        img_size=32,
        window_size=2,
        out_channels=0)
    inputs = torch.rand(2, 3, *size)
    layouts, feature = canonical(model, 'backbone.layers.1', inputs)
    assert layouts == ('NHWC', )
    with torch.no_grad():
        assert torch.equal(feature, model.backbone(inputs)[0])


@pytest.mark.parametrize('size', [(64, 64), (32, 96)])
def test_hivit(size):
    """Its cells are where the preceding convolution put them."""
    model = build(
        type='HiViT',
        arch=dict(embed_dims=32, depths=[1, 1, 8], num_heads=2),
        img_size=size,
        patch_norm=False,
        ape=False,
        out_indices=[7])
    inputs = torch.rand(2, 3, *size)
    layouts, feature = canonical(model, 'backbone.patch_embed', inputs)
    assert layouts == ('NLHWC', )
    assert torch.equal(feature, model.backbone.patch_embed.proj(inputs))
    height, width = (side // 16 for side in size)
    for tap, shape in (('blocks.1', (2, 8, 4 * height, 4 * width)),
                       ('blocks.3', (2, 16, 2 * height, 2 * width)),
                       ('blocks.5', (2, 32, height, width)),
                       ('blocks.7', (2, height * width, 32))):
        assert canonical(model, f'backbone.{tap}', inputs)[1].shape == shape


@pytest.mark.parametrize('name, taps', [
    ('swin_tiny_patch4_window7_224', 'layers.{}.blocks'),
    ('mambaout_femto', 'stages.{}.blocks'),
])
def test_timm(name, taps):
    pytest.importorskip('timm')
    model = build(type='TIMMBackbone', model_name=name)
    taps = [f'backbone.timm_model.{taps.format(i)}' for i in range(4)]
    stages = parse_stages('auto', model, [model])
    assert find_layouts(model, stages, 0, torch.rand(
        1, 3, 224, 224)) == dict.fromkeys(taps, ('NHWC', ))
