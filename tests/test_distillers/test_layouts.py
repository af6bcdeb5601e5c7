# Copyright (c) sskd_mm authors. All rights reserved.
"""A network learns the same with channels first and channels last."""
import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.analysis.alignment import measure_alignment
from sskd_mm.analysis.cka_matrix import measure_cka_matrix
from sskd_mm.stages import Phase

TAPS = [f'backbone.layers.{i}' for i in range(3)]
NAMES = tuple(tap.split('.', 1)[1] for tap in TAPS)
SIZES = [(32, 32), (32, 48)]


class Block(nn.Module):
    """Each position minus the mean of its window, then a linear map."""

    def __init__(self, channels, layout):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels) / 3)
        self.act = nn.ReLU()
        self.layout = layout

    def forward(self, x):
        if self.layout == 'NCHW':
            x = x - F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.)
            return self.act(F.conv2d(x, self.weight[..., None, None]))
        n, h, w, c = x.shape
        windows = x.view(n, h // 2, 2, w // 2, 2, c)
        windows = windows - windows.mean((2, 4), keepdim=True)
        # view() needs a contiguous tensor.
        x = F.linear(windows.view(-1, c), self.weight)
        return self.act(x.view(n, h, w, c))


@MODELS.register_module()
class Layered(nn.Module):

    def __init__(self, channels, layout, size=None, levels=False):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, channels, 4, 4)
        self.layers = nn.ModuleList(Block(channels, layout) for _ in range(3))
        self.layout, self.size, self.levels = layout, size, levels

    def forward(self, x):
        assert self.size in (None, tuple(x.shape[-2:]))
        x = self.patch_embed(x)
        if self.layout == 'NHWC':
            x = x.permute(0, 2, 3, 1).contiguous()
        for layer in self.layers:
            x = layer(x)
        if self.layout == 'NHWC':
            x = x.permute(0, 3, 1, 2)
        if not self.levels:
            return (x, )
        levels = x, F.max_pool2d(x, 2)
        return tuple(x.permute(0, 2, 3, 1) for x in levels) if (
            self.layout == 'NHWC') else levels


@pytest.fixture
def make(tmp_path):
    """Builds a distiller of two such networks, with the same weights for any
    layouts, and the batch that prepares it."""

    def run(student, teacher, size, stages=TAPS, **model):
        student, teacher = (
            dict(
                type='ImageClassifier',
                backbone=dict(type='Layered', channels=channels, **backbone),
                neck=dict(type='GlobalAveragePooling'))
            # 8 channels of 8 x 8.
            for channels, backbone in ((8, student), (12, teacher)))
        path = str(tmp_path / 'teacher.pth')
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            torch.manual_seed(1)
            weights = MODELS.build(copy.deepcopy(teacher)).state_dict()
            torch.save(dict(state_dict=weights), path)
            torch.manual_seed(0)
            distiller = MODELS.build(
                dict(
                    type='StageByStageDistiller',
                    student=student,
                    teacher=dict(cfg=teacher, checkpoint=path),
                    stages=stages,
                    **model))
            images = torch.rand(
                4, 3, *size, generator=torch.Generator().manual_seed(0))
            batch = dict(inputs=images)
            distiller.prepare(batch)
        return distiller, batch

    return run


def layouts(*pair):
    return [dict(layout=layout) for layout in pair]


def train(distiller, batch, border='student', steps=4):
    """The losses of each step, and the student's weights after them."""
    phase = Phase('mimic/x', tuple(distiller.stages), tuple(distiller.stages),
                  border)
    distiller.prepare_phases([phase], 4)
    distiller.enter_phase(phase)
    wrapper = OptimWrapper(
        torch.optim.SGD([p for p in distiller.parameters() if p.requires_grad],
                        lr=0.01))
    log = [distiller.train_step(batch, wrapper) for _ in range(steps)]
    return log, distiller.state_dict()


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('border, model', [
    ('student', {}),
    ('student', dict(pre_activation=True)),
    ('student', dict(channels_last=True)),
    ('detached', {}),
    ('detached', dict(pre_activation=True)),
    ('teacher', {}),
    ('teacher', dict(channels_last=True)),
])
def test_layouts_do_not_matter(make, border, model, size):
    expected, *others = [
        train(*make(*layouts(*pair), size, **model), border)
        for pair in itertools.product(('NCHW', 'NHWC'), repeat=2)
    ]
    assert expected[0][-1]['loss'] < expected[0][0]['loss']
    for log, state in others:
        torch.testing.assert_close(log, expected[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(state, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('size', SIZES)
def test_levels(make, size):
    expected, other = [
        train(*make(*([dict(levels=True, layout=layout)] * 2), size,
                    ['backbone'])) for layout in ('NCHW', 'NHWC')
    ]
    torch.testing.assert_close(other[0], expected[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(other[1], expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('pair', [('NHWC', 'NCHW'), ('NCHW', 'NHWC'),
                                  ('NHWC', 'NHWC')])
def test_what_is_measured(make, pair):
    figures = []
    for layout in (('NCHW', 'NCHW'), pair):
        distiller, batch = make(*layouts(*layout), (32, 48))
        assert distiller.comparison.tap_shapes == {
            name: [((8, 8, 12), (12, 8, 12))]
            for name in NAMES
        }
        figures.append([
            measure_alignment(distiller, [batch], NAMES, 1),
            measure_cka_matrix(distiller, [batch], 1)[2]
        ])
    torch.testing.assert_close(*figures, rtol=1e-4, atol=1e-6)


def test_a_step_on_other_images(make):
    """The layout belongs to the network, not to the images it was found on."""
    expected, other = [
        make(*layouts(layout, layout), (32, 32))[0]
        for layout in ('NCHW', 'NHWC')
    ]
    inputs = torch.rand(2, 3, 48, 96)
    for one, two in zip(*(d.compare(inputs, NAMES).values()
                          for d in (expected, other))):
        torch.testing.assert_close(one, two)


def test_what_nothing_tells_is_said(make):
    """A network of fixed input size with as many channels as rows."""
    student = dict(layout='NHWC', size=(32, 32))
    with pytest.raises(
            ValueError,
            match=r"the student's tap 'backbone.layers.0' outputs \(8, 8, 8\)"
            r".*Write dict\(student='backbone.layers.0', "
            r"teacher='backbone.layers.0', layout=dict\(student='NCHW'\)\)"):
        make(student, dict(layout='NCHW'), (32, 32))
    stages = [
        dict(student=tap, teacher=tap, layout=dict(student='NHWC'))
        for tap in TAPS
    ]
    log, _ = train(*make(student, dict(layout='NCHW'), (32, 32), stages))
    expected, _ = train(*make(*layouts('NCHW', 'NCHW'), (32, 32)))
    torch.testing.assert_close(log, expected, rtol=1e-4, atol=1e-6)


def test_a_map_beside_a_vector(make):
    stages = [dict(student='neck', teacher=TAPS[2])]
    with pytest.raises(
            ValueError, match="Stage 'neck'.*before the pooling.*'neck'"):
        make(*layouts('NHWC', 'NHWC'), (32, 48), stages)


def test_adapters_and_feeders_start_as_configured(make):
    init_cfg = dict(type='Constant', layer='Conv2d', val=0.25)
    distiller, batch = make(
        *layouts('NHWC', 'NCHW'), (32, 48),
        adapter=dict(type='ConvAdapter', init_cfg=init_cfg))
    phase = Phase('mimic/blockwise', NAMES, NAMES, 'teacher')
    distiller.prepare_phases([phase], 4)
    weights = [
        param for helper in (distiller.adapters, distiller.feeders)
        for name, param in helper.named_parameters() if 'weight' in name
    ]
    assert len(weights) == 5 and all((w == 0.25).all() for w in weights)
