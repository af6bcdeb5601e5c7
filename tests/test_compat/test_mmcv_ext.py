# Copyright (c) sskd_mm authors. All rights reserved.
import importlib
import math
import subprocess
import sys
import textwrap
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmengine.utils.dl_utils import mmcv_full_available

from sskd_mm.compat import mmcv_ext
from sskd_mm.compat.mmcv_ext import (MissingOperatorError, has_compiled_ops,
                                     install)

pytestmark = pytest.mark.skipif(
    not install(), reason='mmcv has its own compiled operators')
# Without compiled operators it can be imported only now.
ops = importlib.import_module('mmcv.ops')

DEVICES = ['cpu'] + ['cuda'] * torch.cuda.is_available()
HALVES = [torch.float16, torch.bfloat16]


def greedy_nms(boxes, scores, threshold, offset=0):
    """Indices that greedy NMS keeps, from its definition."""
    boxes = boxes.astype(np.float64)
    boxes[:, 2:] += offset
    keep = []
    for i in np.argsort(-scores, kind='stable'):
        for j in keep:
            x1, y1 = np.maximum(boxes[i, :2], boxes[j, :2])
            x2, y2 = np.minimum(boxes[i, 2:], boxes[j, 2:])
            inter = max(x2 - x1, 0) * max(y2 - y1, 0)
            areas = sum(np.prod(boxes[k, 2:] - boxes[k, :2]) for k in (i, j))
            if inter > threshold * (areas - inter):
                break
        else:
            keep.append(i)
    return keep


def random_boxes(num_boxes, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (num_boxes, 2))
    boxes = np.hstack([corner, corner + rng.uniform(1, 9, (num_boxes, 2))])
    scores = rng.permutation(num_boxes) / num_boxes
    return torch.from_numpy(boxes).float(), torch.from_numpy(scores).float()


def axis_weights(start, length, bins, size, sampling_ratio):
    """Weight of each pixel of an axis in the mean over each bin of a RoI."""
    weights = np.zeros((bins, size))
    num_samples = sampling_ratio or math.ceil(length / bins)
    for i in range(bins):
        for sample in range(num_samples):
            x = start + (i + (sample + .5) / num_samples) * length / bins
            if x < -1 or x > size:  # outside, a zero
                continue
            x = min(max(x, 0), size - 1)
            low = int(x)
            weights[i, low] += (1 - x + low) / num_samples
            weights[i, min(low + 1, size - 1)] += (x - low) / num_samples
    return weights


def roi_weights(rois, feats, layer):
    """Index, weights by row and weights by column of each RoI.

    The bilinear weight of a pixel is the product of those by row and column,
    and so is their mean over the grid of samples.
    """
    for index, *roi in rois.double().cpu().numpy():
        x1, y1, x2, y2 = np.array(roi) * layer.spatial_scale - (
            .5 if layer.aligned else 0)
        width, height = x2 - x1, y2 - y1
        if not layer.aligned:
            width, height = max(width, 1), max(height, 1)
        bins_y, bins_x = layer.output_size
        size_y, size_x = feats.shape[-2:]
        yield (int(index),
               axis_weights(y1, height, bins_y, size_y, layer.sampling_ratio),
               axis_weights(x1, width, bins_x, size_x, layer.sampling_ratio))


def roi_align(rois, feats, layer):
    values = feats.detach().double().cpu().numpy()
    return np.stack([
        np.einsum('ih,jw,chw->cij', rows, columns, values[index])
        for index, rows, columns in roi_weights(rois, feats, layer)
    ])


def roi_align_adjoint(rois, feats, layer, grad_output):
    grad = np.zeros(feats.shape)
    for (index, rows, columns), g in zip(
            roi_weights(rois, feats, layer),
            grad_output.double().cpu().numpy()):
        grad[index] += np.einsum('ih,jw,cij->chw', rows, columns, g)
    return grad


def feats_and_rois(spatial_scale=1., dtype=torch.float32, device='cpu'):
    """Maps of two images, and RoIs inside, partly outside and degenerate."""
    rng = np.random.default_rng(0)
    feats = torch.from_numpy(rng.normal(size=(2, 3, 12, 16)))
    corner = rng.uniform(-6, 12, (12, 2))
    rois = np.hstack([corner, corner + rng.uniform(.2, 14, (12, 2))])
    rois = np.vstack([
        rois,
        [-40.3, -40.3, -30.1, -30.1],  # all outside
        [3.3, 4.4, 3.3, 4.4],  # a point
        [-5.2, -4.1, 30.6, 25.7]  # around it all
    ]) / spatial_scale
    index = rng.integers(2, size=(len(rois), 1))
    rois = torch.from_numpy(np.hstack([index, rois])).float()
    return (feats.to(device, dtype).requires_grad_(), rois.to(device))


def focal_loss(logit, target, gamma, alpha, weight=None):
    """Sigmoid focal loss from its definition."""
    logit = logit.double().cpu().numpy()
    positive = target.cpu().numpy()[:, None] == np.arange(logit.shape[1])
    sign = np.where(positive, 1, -1)
    log_p = -np.logaddexp(0, -sign * logit)  # of the right answer
    log_q = -np.logaddexp(0, sign * logit)
    loss = -np.where(positive, alpha, 1 - alpha) * np.exp(
        gamma * log_q) * log_p
    if weight is not None:
        loss *= weight.double().cpu().numpy()[target.cpu().numpy()][:, None]
    return loss


def assert_close(actual, expected, **kwargs):
    torch.testing.assert_close(actual.detach().cpu(),
                               torch.as_tensor(expected, dtype=actual.dtype),
                               **kwargs)


class TestInstall:

    @pytest.fixture
    def not_installed(self, monkeypatch):
        monkeypatch.delitem(sys.modules, 'mmcv._ext')
        monkeypatch.delattr(mmcv, '_ext')

    def test_idempotent(self):
        stand_in = sys.modules['mmcv._ext']
        assert install()
        assert sys.modules['mmcv._ext'] is mmcv._ext is stand_in
        assert not has_compiled_ops()

    def test_imports_no_operators(self, not_installed, monkeypatch):
        # With None there, importing one of these raises ImportError.
        monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
        monkeypatch.setitem(sys.modules, 'torchvision', None)
        assert install()
        assert sys.modules['mmcv._ext'].nms is mmcv_ext.nms

    def test_keeps_loaded_extension(self, not_installed, monkeypatch):
        compiled = ModuleType('mmcv._ext')
        monkeypatch.setitem(sys.modules, 'mmcv._ext', compiled)
        assert has_compiled_ops()
        assert not install()
        assert sys.modules['mmcv._ext'] is compiled

    def test_keeps_extension_on_disk(self, not_installed, monkeypatch,
                                     tmp_path):
        (tmp_path / '_ext.py').write_text('nms = "compiled"')
        monkeypatch.setattr(mmcv, '__path__', [str(tmp_path)])
        assert not install()
        assert sys.modules['mmcv._ext'].nms == 'compiled'

    def test_broken_extension(self, not_installed, monkeypatch, tmp_path):
        broken = tmp_path / f'_ext{EXTENSION_SUFFIXES[0]}'
        broken.write_text('for another torch')
        monkeypatch.setattr(mmcv, '__path__', [str(tmp_path)])
        with pytest.warns(UserWarning, match='cannot be loaded') as caught:
            assert install()
        assert str(broken) in str(caught[0].message)
        assert sys.modules['mmcv._ext'].nms is mmcv_ext.nms

    def test_blocked_extension(self, not_installed, monkeypatch):
        monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
        assert install()
        assert sys.modules['mmcv._ext'].nms is mmcv_ext.nms

    def test_warns_after_mmdet(self, not_installed, monkeypatch):
        name = 'mmdet.structures.mask.structures'
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        with pytest.warns(UserWarning, match='Import sskd_mm before mmdet'):
            install()

    def test_new_process(self):
        """Also where operators were asked for, in vain, before."""
        code = textwrap.dedent('''
            import mmcv.cnn.bricks.transformer as transformer
            try:
                import mmcv.ops
            except ModuleNotFoundError as error:
                assert error.name == 'mmcv._ext'
            else:
                raise AssertionError('there is nothing to stand in for')

            from sskd_mm.compat.mmcv_ext import install
            assert install()
            import mmcv.ops, mmdet.models, mmdet.apis, mmdet.evaluation

            attention = mmcv.ops.MultiScaleDeformableAttention
            assert transformer.MultiScaleDeformableAttention is attention
            from mmdet.models.detectors import deformable_detr
            assert deformable_detr.MultiScaleDeformableAttention is attention
        ''')
        result = subprocess.run([sys.executable, '-c', code],
                                cwd=Path(mmcv_ext.__file__).parents[2],
                                stderr=subprocess.PIPE,
                                text=True)
        assert result.returncode == 0, result.stderr


class TestModule:

    def test_missing_operator(self):
        conv = ops.DeformConv2d(2, 2, 3)
        with pytest.raises(MissingOperatorError) as caught:
            conv(torch.rand(1, 2, 5, 5), torch.zeros(1, 18, 3, 3))
        message = str(caught.value)
        for part in ('`deform_conv_forward`', mmcv.__version__,
                     'nms, roi_align', 'mim install'):
            assert part in message

    def test_attributes(self):
        stand_in = sys.modules['mmcv._ext']
        assert callable(stand_in.upfirdn2d)
        assert not hasattr(stand_in, '__path__')
        assert not hasattr(stand_in, '_private')

    def test_inquiries(self):
        assert ops.get_compiler_version() == 'n/a'
        assert ops.get_compiling_cuda_version() == 'n/a'
        # It asks for the spec of the module.
        assert isinstance(mmcv_full_available(), bool)

    def test_deformable_attention_on_cpu(self):
        module = sys.modules['mmcv.ops.multi_scale_deform_attn']
        attention = ops.MultiScaleDeformableAttention(
            embed_dims=8, num_heads=2, num_levels=1, batch_first=True)
        query = torch.rand(1, 12, 8)
        with patch.object(
                module,
                'multi_scale_deformable_attn_pytorch',
                wraps=module.multi_scale_deformable_attn_pytorch) as form:
            out = attention(
                query,
                reference_points=torch.rand(1, 12, 1, 2),
                spatial_shapes=torch.tensor([[3, 4]]),
                level_start_index=torch.tensor([0]))
        form.assert_called_once()
        assert out.shape == query.shape


class TestNMS:

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('offset', [0, 1])
    @pytest.mark.parametrize('threshold', [.1, .5, .9])
    def test_random(self, threshold, offset, device):
        boxes, scores = random_boxes(150)
        expected = greedy_nms(boxes.numpy(), scores.numpy(), threshold, offset)
        dets, keep = ops.nms(
            boxes.to(device), scores.to(device), threshold, offset=offset)
        assert keep.tolist() == expected
        assert keep.dtype == torch.int64 and keep.device.type == device
        assert torch.equal(dets[:, :4].cpu(), boxes[expected])
        assert torch.equal(dets[:, 4].cpu(), scores[expected])

    def test_offset(self):
        # They overlap by 2 of 6, with the offset by 6 of 12.
        boxes = torch.tensor([[0., 0., 2., 2.], [1., 0., 3., 2.]])
        scores = torch.tensor([.8, .9])
        assert ops.nms(boxes, scores, .4, offset=0)[1].tolist() == [1, 0]
        assert ops.nms(boxes, scores, .4, offset=1)[1].tolist() == [1]

    def test_at_threshold(self):
        # An IoU of .6, which float32 rounds up, is not above .6.
        boxes = torch.tensor([[0., 0., 10., 10.], [0., 0., 10., 6.]])
        scores = torch.tensor([.9, .8])
        assert ops.nms(boxes, scores, .6)[1].tolist() == [0, 1]
        assert ops.nms(boxes, scores, .599)[1].tolist() == [0]

    def test_equal_scores(self):
        boxes, scores = random_boxes(100)
        scores = scores.mul(5).round()
        expected = greedy_nms(boxes.numpy(), scores.numpy(), .3)
        assert ops.nms(boxes, scores, .3)[1].tolist() == expected

    def test_score_threshold_and_max_num(self):
        boxes, scores = random_boxes(100)
        above = np.flatnonzero(scores.numpy() > .4)
        expected = above[greedy_nms(boxes.numpy()[above],
                                    scores.numpy()[above], .3)].tolist()
        _, keep = ops.nms(boxes, scores, .3, score_threshold=.4)
        assert keep.tolist() == expected
        _, keep = ops.nms(boxes, scores, .3, score_threshold=.4, max_num=7)
        assert keep.tolist() == expected[:7]

    def test_arrays(self):
        boxes, scores = (tensor.numpy() for tensor in random_boxes(50))
        dets, keep = ops.nms(boxes, scores, .3)
        assert isinstance(dets, np.ndarray)
        assert keep.tolist() == greedy_nms(boxes, scores, .3)

    @pytest.mark.parametrize('device', DEVICES)
    def test_empty(self, device):
        dets, keep = ops.nms(
            torch.zeros(0, 4, device=device), torch.zeros(0, device=device),
            .5)
        assert dets.shape == (0, 5)
        assert keep.shape == (0, ) and keep.dtype == torch.int64

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('dtype', HALVES)
    def test_half(self, dtype, device):
        boxes, scores = random_boxes(100)
        boxes, scores = boxes.to(dtype), scores.to(dtype)
        expected = greedy_nms(boxes.double().numpy(),
                              scores.double().numpy(), .3, 1)
        dets, keep = ops.nms(boxes.to(device), scores.to(device), .3, offset=1)
        assert keep.tolist() == expected
        assert dets.dtype == dtype

    def test_scores_of_higher_precision(self):
        boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 9.]])
        scores = torch.tensor([1., 1. + 1e-12], dtype=torch.float64)
        assert ops.nms(boxes, scores, .5)[1].tolist() == [1]

    @pytest.mark.parametrize('split_thr', [10000, 10])
    def test_batched(self, split_thr):
        boxes, scores = random_boxes(120)
        classes = torch.arange(120) % 3
        cfg = dict(type='nms', iou_threshold=.3, split_thr=split_thr)
        expected = []
        for c in range(3):
            members = np.arange(c, 120, 3)
            expected += members[greedy_nms(boxes.numpy()[members],
                                           scores.numpy()[members],
                                           .3)].tolist()
        expected.sort(key=lambda i: -scores[i])

        dets, keep = ops.batched_nms(boxes, scores, classes, cfg)
        assert keep.tolist() == expected
        assert torch.equal(dets, torch.hstack([boxes, scores[:, None]])[keep])
        cfg['max_num'] = 11
        _, keep = ops.batched_nms(boxes, scores, classes, cfg)
        assert keep.tolist() == expected[:11]

    def test_class_agnostic(self):
        boxes, scores = random_boxes(120)
        _, keep = ops.batched_nms(
            boxes,
            scores,
            torch.arange(120) % 3,
            dict(type='nms', iou_threshold=.3),
            class_agnostic=True)
        assert keep.tolist() == greedy_nms(boxes.numpy(), scores.numpy(), .3)


class TestRoIAlign:

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('aligned', [True, False])
    @pytest.mark.parametrize('sampling_ratio', [0, 2])
    @pytest.mark.parametrize('spatial_scale', [1., .25, 1 / 32])
    @pytest.mark.parametrize('output_size', [7, (2, 3)])
    def test_forward_and_backward(self, output_size, spatial_scale,
                                  sampling_ratio, aligned, device):
        feats, rois = feats_and_rois(spatial_scale, device=device)
        layer = ops.RoIAlign(
            output_size, spatial_scale, sampling_ratio, aligned=aligned)
        out = layer(feats, rois)
        assert_close(out, roi_align(rois, feats, layer), atol=1e-5, rtol=1e-5)

        grad_output = torch.randn(out.shape, device=device)
        out.backward(grad_output)
        assert_close(
            feats.grad,
            roi_align_adjoint(rois, feats, layer, grad_output),
            atol=1e-5,
            rtol=1e-5)

    @pytest.mark.parametrize('aligned', [True, False])
    @pytest.mark.parametrize('sampling_ratio', [0, 2])
    def test_gradcheck(self, sampling_ratio, aligned):
        feats, rois = feats_and_rois(dtype=torch.float64)
        layer = ops.RoIAlign(2, 1., sampling_ratio, aligned=aligned)
        out = layer(feats, rois)
        assert_close(out, roi_align(rois, feats, layer), atol=1e-10, rtol=0)
        # It is linear in its input, so the step can be a large one.
        assert torch.autograd.gradcheck(
            lambda x: layer(x, rois), feats[..., :6, :6], eps=1e-2)

    def test_transposed_gradient(self):
        feats, rois = feats_and_rois()
        layer = ops.RoIAlign(2)
        out = layer(feats, rois)
        grad_output = torch.randn(*out.shape[:2], 2, 2).transpose(2, 3)
        out.backward(grad_output)
        assert_close(feats.grad,
                     roi_align_adjoint(rois, feats, layer, grad_output))

    @pytest.mark.parametrize('device', DEVICES)
    def test_no_rois(self, device):
        feats, rois = feats_and_rois(device=device)
        out = ops.RoIAlign(7)(feats, rois[:0])
        assert out.shape == (0, 3, 7, 7)
        out.sum().backward()
        assert feats.grad.shape == feats.shape and not feats.grad.any()

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('dtype', HALVES)
    def test_half(self, dtype, device):
        feats, rois = feats_and_rois(dtype=dtype, device=device)
        layer = ops.RoIAlign(3)
        out = layer(feats, rois)
        assert out.dtype == dtype
        # Correct up to the rounding of the result alone.
        eps = torch.finfo(dtype).eps
        assert_close(out, roi_align(rois, feats, layer), atol=1e-5, rtol=eps)
        grad_output = torch.randn_like(out)
        out.backward(grad_output)
        assert feats.grad.dtype == dtype
        assert_close(
            feats.grad,
            roi_align_adjoint(rois, feats, layer, grad_output),
            atol=1e-5,
            rtol=eps)

    def test_max_pooling(self):
        feats, rois = feats_and_rois()
        with pytest.raises(MissingOperatorError, match="pool_mode='max'"):
            ops.RoIAlign(7, pool_mode='max')(feats, rois)


class TestSigmoidFocalLoss:

    @pytest.mark.parametrize('device', DEVICES)
    @pytest.mark.parametrize('gamma, alpha', [(2., .25), (0., .5), (1.5, .8)])
    def test_forward(self, gamma, alpha, device):
        # Wide enough for the sigmoid to round to 0 and to 1.
        logit = torch.linspace(-40, 40, 60, device=device).reshape(20, 3)
        target = torch.arange(20, device=device) % 4  # 3, the background
        loss = ops.sigmoid_focal_loss(logit, target, gamma, alpha, None,
                                      'none')
        expected = focal_loss(logit, target, gamma, alpha)
        assert_close(loss, expected, atol=1e-6, rtol=1e-5)
        loss = ops.sigmoid_focal_loss(logit, target, gamma, alpha)
        assert_close(loss, expected.sum() / 20)

    @pytest.mark.parametrize('device', DEVICES)
    def test_class_weights(self, device):
        logit = torch.linspace(-4, 4, 60, device=device).reshape(20, 3)
        target = torch.arange(20, device=device) % 3
        weight = torch.tensor([1., 2., 5.], device=device)
        loss = ops.sigmoid_focal_loss(logit, target, 2., .25, weight, 'none')
        assert_close(loss, focal_loss(logit, target, 2., .25, weight))

    @pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
    @pytest.mark.parametrize('gamma', [0., 2.])
    def test_gradcheck(self, gamma, reduction):
        logit = torch.linspace(-4, 4, 18).double().reshape(6, 3)
        target = torch.arange(6) % 3
        weight = torch.tensor([1., 2., 5.]).double()
        assert torch.autograd.gradcheck(
            lambda x: ops.sigmoid_focal_loss(x, target, gamma, .25,
                                             weight, reduction),
            logit.requires_grad_())

    @pytest.mark.parametrize('dtype', HALVES)
    def test_half(self, dtype):
        logit = torch.linspace(-9, 9, 60).reshape(20, 3).to(dtype)
        target = torch.arange(20) % 4
        loss = ops.sigmoid_focal_loss(logit.requires_grad_(), target, 2., .25,
                                      None, 'none')
        assert loss.dtype == dtype
        assert_close(loss, focal_loss(logit.detach(), target, 2., .25))
        loss.sum().backward()
        assert logit.grad.dtype == dtype and logit.grad.isfinite().all()


@pytest.fixture(scope='module')
def faster_rcnn():
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS
    coder = dict(type='DeltaXYWHBBoxCoder')
    assigner = dict(type='MaxIoUAssigner', neg_iou_thr=.5, min_pos_iou=.3)
    sampler = dict(type='RandomSampler', num=32, pos_fraction=.5)
    cfg = ConfigDict(
        type='FasterRCNN',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[0.] * 3,
            std=[255.] * 3,
            pad_size_divisor=32),
        backbone=dict(
            type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(
            type='FPN',
            in_channels=[8, 16, 32, 64],
            out_channels=8,
            num_outs=5),
        rpn_head=dict(
            type='RPNHead',
            in_channels=8,
            feat_channels=8,
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[8],
                ratios=[1.],
                strides=[4, 8, 16, 32, 64]),
            bbox_coder=coder),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor',
                roi_layer=dict(type='RoIAlign', output_size=7),
                out_channels=8,
                featmap_strides=[4, 8, 16, 32]),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=8,
                fc_out_channels=16,
                num_classes=2,
                bbox_coder=coder)),
        train_cfg=dict(
            rpn=dict(
                assigner=dict(**assigner, pos_iou_thr=.7),
                sampler=dict(**sampler, add_gt_as_proposals=False),
                allowed_border=-1,
                pos_weight=-1),
            rpn_proposal=dict(
                nms_pre=50,
                max_per_img=20,
                nms=dict(type='nms', iou_threshold=.7)),
            rcnn=dict(
                assigner=dict(**assigner, pos_iou_thr=.5),
                sampler=sampler,
                pos_weight=-1)),
        test_cfg=dict(
            rpn=dict(
                nms_pre=50,
                max_per_img=30,
                nms=dict(type='nms', iou_threshold=.7)),
            rcnn=dict(
                score_thr=0.,
                max_per_img=25,
                nms=dict(type='nms', iou_threshold=.2))))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg)


@pytest.fixture
def data():
    from mmdet.structures import DetDataSample
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(96, 128), ori_shape=(96, 128), scale_factor=(1., 1.)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8., 8., 60., 56.], [70., 20., 120., 90.]]),
        labels=torch.tensor([0, 1]))
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, 96, 128), generator=generator)
    return dict(inputs=[image.byte()], data_samples=[sample])


class TestFasterRCNN:
    """Trains and predicts with RoIAlign and NMS of the stand-in."""

    def test_train_step(self, faster_rcnn, data):
        model = faster_rcnn
        model.train()
        data = model.data_preprocessor(data, training=True)
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
        assert total.isfinite()
        # Back from the RoI head alone, the way into the backbone is RoIAlign.
        (grad, ) = torch.autograd.grad(
            losses['loss_cls'], model.backbone.conv1.weight, retain_graph=True)
        assert grad.isfinite().all() and grad.any()

        optimizer = torch.optim.SGD(model.parameters(), lr=.01)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert all(p.isfinite().all() for p in model.parameters())

    def test_predict(self, faster_rcnn, data):
        model = faster_rcnn
        model.eval()
        with torch.no_grad():
            (sample, ) = model.test_step(data)
        pred = sample.pred_instances
        assert 0 < len(pred) <= 25
        assert (pred.scores.diff() <= 0).all()
        for label in range(2):
            of_class = pred[pred.labels == label]
            keep = greedy_nms(of_class.bboxes.numpy(), of_class.scores.numpy(),
                              .2)
            assert keep == list(range(len(of_class)))
