# Copyright (c) sskd_mm authors. All rights reserved.
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sskd_mm.stages import (HEAD, StagePartition, find_stages, parse_stages,
                            run_prefix)

RESNET = dict(depth=50, base_channels=8, stem_channels=8)
FOUR = ['layer1', 'layer2', 'layer3', 'layer4']
STAGES = ['stages.0', 'stages.1', 'stages.2', 'stages.3']
VIT = dict(
    arch=dict(embed_dims=8, num_layers=8, num_heads=1, feedforward_channels=8),
    img_size=32,
    patch_size=16)
QUARTERS = ['layers.1', 'layers.3', 'layers.5', 'layers.7']
SWIN = dict(embed_dims=8, depths=[2, 1, 2, 1], num_heads=[1] * 4)
BLOCKS = [
    'stages.0.blocks.1', 'stages.1.blocks.0', 'stages.2.blocks.1',
    'stages.3.blocks.0'
]
TWINS = dict(
    embed_dims=[8, 8, 8, 8],
    depths=[2, 2, 2, 2],
    num_heads=[1] * 4,
    patch_sizes=[4, 2, 2, 2],
    strides=[4, 2, 2, 2],
    mlp_ratios=[2] * 4,
    sr_ratios=[4, 2, 1, 1])
NETWORK = ['network.0', 'network.2', 'network.4', 'network.6']

# A family of mmpretrain: its config, its stages, and its parameters after the
# last tap, which belong to the head.
CLASSIFIERS = {
    'ResNet': (dict(**RESNET), FOUR),
    'ResNetV1c': (dict(**RESNET), FOUR),
    'ResNetV1d': (dict(**RESNET), FOUR),
    'ResNeXt': (dict(depth=50, groups=4, width_per_group=4), FOUR),
    'Res2Net': (dict(depth=50, scales=4, base_width=4), FOUR),
    'ResNeSt': (dict(depth=50), FOUR),
    'SEResNet': (dict(depth=50), FOUR),
    'SEResNeXt': (dict(depth=50, groups=4, width_per_group=4), FOUR),
    'ResNet_CIFAR': (dict(**RESNET), FOUR),
    'RegNet': (dict(arch='regnetx_400mf'), FOUR),
    # The last convolution belongs to layer7.
    'MobileNetV2':
    (dict(widen_factor=0.25), [f'layer{i}' for i in range(1, 7)] + ['conv2']),
    'MobileNetV3':
    (dict(arch='small'), ['layer1', 'layer3', 'layer8', 'layer12']),
    'MobileNetV3 large':
    (dict(arch='large'), ['layer1', 'layer3', 'layer6', 'layer12', 'layer16']),
    'ShuffleNetV1': (dict(), ['layers.0', 'layers.1', 'layers.2']),
    'ShuffleNetV2': (dict(widen_factor=0.5),
                     ['layers.0', 'layers.1', 'layers.3']),
    'VGG': (dict(depth=11), [f'features.{i}' for i in (1, 3, 6, 9, 12)]),
    # Its out_indices count stages, not layers.
    'VGG outputs':
    (dict(depth=11, norm_cfg=dict(type='BN'),
          out_indices=(1, 2)), ['features.1', 'features.3',
                                'features.6'], ['features']),
    'AlexNet': (dict(), ['features.2', 'features.5', 'features.12']),
    'LeNet5': (dict(num_classes=10),
               ['features.2', 'features.5', 'features.7'], ['classifier']),
    'EfficientNet': (dict(arch='b0'), [f'layers.{i}'
                                       for i in (1, 2, 3, 4, 6)]),
    'EfficientNetV2': (dict(arch='b0'),
                       [f'layers.{i}' for i in (1, 2, 3, 4, 5, 7)]),
    'ConvNeXt': (dict(arch='atto'), STAGES, ['norm3']),
    'ConvMixer':
    (dict(arch=dict(embed_dims=8, depth=12, patch_size=7, kernel_size=3)),
     ['stages.2', 'stages.5', 'stages.8', 'stages.11']),
    'SwinTransformer': (dict(arch=SWIN, img_size=64,
                             window_size=2), BLOCKS, ['norm3']),
    'SwinTransformer late':
    (dict(arch=SWIN, img_size=64, window_size=2,
          out_after_downsample=True), BLOCKS, ['norm3']),
    'SwinTransformerV2': (dict(
        arch=dict(extra_norm_every_n_blocks=0, **SWIN),
        img_size=64,
        window_size=[2] * 4), BLOCKS, ['norm3']),
    'MixMIMTransformer':
    (dict(arch=SWIN, img_size=64, window_size=[4, 4, 4, 2]),
     [b.replace('stages', 'layers') for b in BLOCKS], ['norm']),
    'DaViT': (dict(arch=SWIN, window_size=2), BLOCKS, ['norm3']),
    'TinyViT': (dict(
        arch=dict(
            channels=[8, 8, 8, 8],
            num_heads=[1] * 4,
            window_sizes=[4, 4, 4, 2],
            depths=[2, 1, 2, 1]),
        img_size=(64, 64)), BLOCKS, ['norm3']),
    'VisionTransformer': (VIT, QUARTERS, ['ln1']),
    'VisionTransformer outputs': (dict(out_indices=[1, 4, -1], **VIT),
                                  ['layers.1', 'layers.4',
                                   'layers.7'], ['ln1']),
    'DistilledVisionTransformer': (VIT, QUARTERS, ['ln1']),
    'DeiT3': (VIT, QUARTERS, ['ln1', 'layers']),
    'BEiTViT': (VIT, QUARTERS, ['ln2']),
    'ViTEVA02': (VIT, QUARTERS, ['ln1']),
    'ViTSAM': (dict(
        arch=dict(global_attn_indexes=[3, 7], **VIT['arch']),
        img_size=32,
        patch_size=16,
        window_size=1,
        out_channels=0), QUARTERS),
    # Its custom backward pass would hide the graph from the taps.
    'RevVisionTransformer': (dict(no_custom_backward=True,
                                  **VIT), QUARTERS, ['ln1']),
    'T2T_ViT': (dict(
        img_size=32,
        embed_dims=8,
        num_layers=8,
        t2t_cfg=dict(token_dims=8, use_performer=False),
        layer_cfgs=dict(num_heads=1, feedforward_channels=8)),
                [f'encoder.{i}' for i in (1, 3, 5, 7)], ['norm']),
    'TNT': (dict(
        arch=dict(
            embed_dims_outer=8,
            embed_dims_inner=4,
            num_layers=8,
            num_heads_outer=1,
            num_heads_inner=1),
        img_size=32), QUARTERS, ['norm']),
    'MlpMixer': (dict(
        arch=dict(
            embed_dims=8, num_layers=8, tokens_mlp_dims=8,
            channels_mlp_dims=8),
        img_size=32,
        patch_size=16), QUARTERS, ['ln1']),
    'XCiT': (dict(patch_size=16, embed_dims=8, depth=8,
                  num_heads=1), [f'xca_{q}' for q in QUARTERS],
             ['cls_token', 'ca_layers', 'norm']),
    'Vig': (dict(arch='tiny'), [f'blocks.{i}' for i in (2, 5, 8, 11)]),
    'Conformer':
    (dict(arch=dict(embed_dims=16, channel_ratio=1, num_heads=1, depths=12)),
     [f'conv_trans_{i}' for i in (4, 7, 10, 12)], ['trans_norm']),
    'CSPDarkNet': (dict(depth=53), [*STAGES, 'stages.4']),
    'CSPResNet': (dict(depth=50), STAGES),
    'DenseNet':
    (dict(arch=dict(growth_rate=4, depths=[2, 2, 2, 2], init_channels=8)),
     STAGES, ['transitions.3']),
    'EdgeNeXt': (dict(arch='xxsmall'), STAGES, ['norm3']),
    'EfficientFormer': (dict(arch='l1'), [f'network.{i}'
                                          for i in range(4)], ['norm3']),
    'HorNet': (dict(
        arch=dict(
            base_dim=8,
            depths=[1, 1, 2, 1],
            orders=[2, 3, 4, 5],
            dw_cfg=[dict(type='DW', kernel_size=7)] * 4)), STAGES, ['norm3']),
    'HRNet': (dict(arch='w18'), ['layer1', 'stage2', 'stage3', 'stage4']),
    'LeViT': (dict(arch='128s', img_size=64), STAGES[:3]),
    'MobileOne': (dict(arch='s0'), [f'stage{i}' for i in range(1, 5)]),
    'MobileViT': (dict(arch='xx_small'), [f'layers.{i}' for i in range(5)],
                  ['conv_1x1_exp']),
    'PoolFormer': (dict(arch='s12'), NETWORK, ['norm6']),
    'RIFormer': (dict(arch='s12'), NETWORK, ['norm6']),
    'RepLKNet': (dict(
        arch=dict(
            large_kernel_sizes=[7] * 4,
            layers=[1, 1, 2, 1],
            channels=[8, 8, 8, 8],
            small_kernel=3,
            dw_ratio=1)), STAGES, ['stages.3.norm']),
    'RepMLPNet': (dict(
        arch='B', img_size=64, patch_size=4,
        reparam_conv_kernels=(1, 3)), STAGES, ['final_norm']),
    'RepVGG': (dict(arch='A0'), [f'stage_{i}' for i in range(1, 5)]),
    'PCPVT': (dict(arch=TWINS), [f'stages.{i}.1' for i in range(4)]),
    'SVT': (dict(arch=dict(window_sizes=[4, 4, 2, 2], **TWINS)),
            [f'stages.{i}.1' for i in range(4)]),
    'VAN': (dict(arch='tiny'),
            ['blocks1.2', 'blocks2.2', 'blocks3.4', 'blocks4.1'], ['norm4']),
}
# Not visible in the config.
SIZES = {'Vig': 224, 'EfficientFormer': 224, 'LeNet5': 32, 'TinyViT': 64}


def _fpn(*channels):
    return dict(
        type='FPN', in_channels=list(channels), out_channels=8, num_outs=5)


SMALL = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
# A family of mmdet: its backbone, neck and stages, and the parameters of the
# neck that no tap reads.
DETECTORS = {
    'ResNet': (SMALL, _fpn(8, 16, 32, 64), FOUR),
    'PAFPN': (SMALL,
              dict(
                  type='PAFPN',
                  in_channels=[8, 16, 32, 64],
                  out_channels=8,
                  num_outs=5), FOUR),
    'ChannelMapper': (dict(SMALL, out_indices=(1, 2)),
                      dict(
                          type='ChannelMapper',
                          in_channels=[16, 32],
                          out_channels=8,
                          norm_cfg=dict(type='GN', num_groups=2),
                          num_outs=3), FOUR[:3], ['layer4']),
    'necks in a row': (SMALL, [
        _fpn(8, 16, 32, 64),
        dict(
            type='BFP',
            in_channels=8,
            num_levels=5,
            refine_level=1,
            refine_type='conv')
    ], FOUR),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=4,
                     base_width=4), _fpn(256, 512, 1024, 2048), FOUR),
    'Res2Net': (dict(type='Res2Net', depth=50, scales=4,
                     base_width=4), _fpn(256, 512, 1024, 2048), FOUR),
    'ResNeSt': (dict(type='ResNeSt', depth=50), _fpn(256, 512, 1024,
                                                     2048), FOUR),
    'RegNet': (dict(type='RegNet',
                    arch='regnetx_400mf'), _fpn(32, 64, 160, 384), FOUR),
    'MobileNetV2':
    (dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
     _fpn(8, 8, 24, 80), [f'layer{i}' for i in range(1, 8)], ['conv2']),
    'EfficientNet':
    (dict(type='EfficientNet', arch='b0', out_indices=(3, 4, 5)),
     _fpn(40, 112, 320), [f'layers.{i}' for i in range(1, 6)]),
    'SwinTransformer': (dict(type='SwinTransformer', window_size=2,
                             **SWIN), _fpn(8, 16, 32, 64), BLOCKS),
    'PyramidVisionTransformer': (dict(
        type='PyramidVisionTransformer',
        embed_dims=8,
        num_layers=[1] * 4,
        num_heads=[1] * 4,
        pretrain_img_size=64), _fpn(8, 8, 8,
                                    8), [f'layers.{i}.2' for i in range(4)]),
    'CSPDarknet':
    (dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
     dict(
         type='YOLOXPAFPN',
         in_channels=[32, 64, 128],
         out_channels=16,
         num_csp_blocks=1), [f'stage{i}' for i in range(1, 5)]),
    'CSPNeXt': (dict(type='CSPNeXt', deepen_factor=0.167, widen_factor=0.125),
                dict(
                    type='CSPNeXtPAFPN',
                    in_channels=[32, 64, 128],
                    out_channels=16,
                    num_csp_blocks=1), [f'stage{i}' for i in range(1, 5)]),
    'Darknet': (dict(type='Darknet', depth=53),
                dict(
                    type='YOLOV3Neck',
                    num_scales=3,
                    in_channels=[1024, 512, 256],
                    out_channels=[16, 16, 16]),
                [f'conv_res_block{i}' for i in range(1, 6)]),
    'SSDVGG': (dict(
        type='SSDVGG',
        depth=16,
        ceil_mode=True,
        out_indices=(3, 4),
        out_feature_indices=(22, 34)),
               dict(
                   type='SSDNeck',
                   in_channels=(512, 1024),
                   out_channels=(512, 1024, 16),
                   level_strides=(2, ),
                   level_paddings=(1, )),
               [f'features.{i}' for i in (4, 9, 16, 23, 34)]),
    'HRNet': (dict(
        type='HRNet',
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(1, ),
                num_channels=(8, )),
            **{
                f'stage{n}':
                dict(
                    num_modules=1,
                    num_branches=n,
                    block='BASIC',
                    num_blocks=(1, ) * n,
                    num_channels=(8, 16, 32, 64)[:n])
                for n in (2, 3, 4)
            })),
              dict(type='HRFPN', in_channels=[8, 16, 32, 64],
                   out_channels=8), ['layer1', 'stage2', 'stage3', 'stage4']),
    'mmpretrain': (dict(
        type='mmpretrain.ConvNeXt',
        arch='atto',
        out_indices=(1, 2),
        gap_before_final_norm=False), _fpn(80, 160), STAGES[:3],
                   ['stages.3', 'downsample_layers.3']),
}


def _build(scope, **cfg):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(ConfigDict(cfg))
    for module in model.modules():
        if type(module).__name__ == 'L2Norm':  # uninitialised memory
            nn.init.ones_(module.weight)
    return model


def _classifier(type, **backbone):
    return _build(
        'mmpretrain',
        type='ImageClassifier',
        backbone=dict(type=type, **backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=8))


def _detector(backbone, neck):
    return _build(
        'mmdet',
        type='RetinaNet',
        backbone=backbone,
        neck=neck,
        bbox_head=dict(
            type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8))


def _detached(path, outputs):
    return [x.detach().clone() for x in outputs]


def _check(model, inputs, stages, beyond=()):
    """Holds for the stages of any network."""
    assert find_stages(model) == stages
    partition = StagePartition(model, parse_stages('auto', model, [model]),
                               inputs)

    # Only the expected parameters come after the last tap.
    root = stages[0].split('.')[0]
    known = [f'{root}.{name}.' for name in beyond]
    behind = [
        f'{name}.' for name in partition.params[HEAD]
        if name.startswith((f'{root}.', 'neck.'))
    ]
    assert [b for b in behind if not b.startswith(tuple(known))] == []
    assert [k for k in known if not any(b.startswith(k) for b in behind)] == []

    # Each tap alone yields the same as with all the others.
    model.eval()
    with torch.no_grad():
        together = run_prefix(model, stages, inputs)
        for tap in stages:
            alone = run_prefix(model, [tap], inputs)[tap]
            assert len(alone) == len(together[tap])
            assert all(map(torch.equal, alone, together[tap])), tap

    # Each stage is reached by the gradient of its own tap's loss.
    params = dict(model.named_parameters())
    for (name, own), tap in zip(partition.params.items(), stages):
        model.train()
        partition.set_requires_grad([name])
        partition.set_mode([name])
        features = run_prefix(model, stages, inputs, pass_on=_detached)
        sum(x.sum() for x in features[tap]).backward()
        trained = [n for n in own if params[n].requires_grad]
        assert trained
        assert [n for n in trained if params[n].grad is None] == []


@pytest.mark.parametrize('family', CLASSIFIERS)
def test_classifiers(family):
    type = family.split()[0]
    backbone, stages, *beyond = CLASSIFIERS[family]
    model = _classifier(type, **backbone)
    size = SIZES.get(type) or backbone.get('img_size', 64)
    inputs = torch.rand(2, 1 if type == 'LeNet5' else 3, size, size)
    _check(model, inputs, [f'backbone.{name}' for name in stages], *beyond)


@pytest.mark.parametrize('family', DETECTORS)
def test_detectors(family):
    backbone, neck, stages, *beyond = DETECTORS[family]
    model = _detector(backbone, neck)
    _check(model, torch.rand(2, 3, 64, 64),
           [f'backbone.{name}' for name in stages] + ['neck'], *beyond)


def test_hourglass():
    # Its second output convolution comes after the last hourglass.
    model = _build(
        'mmdet',
        type='CenterNet',
        backbone=dict(
            type='HourglassNet',
            downsample_times=2,
            num_stacks=2,
            stage_channels=(8, 8, 8),
            stage_blocks=(1, 1, 1),
            feat_channel=8),
        neck=None,
        bbox_head=dict(
            type='CenterNetHead',
            num_classes=2,
            in_channels=8,
            feat_channels=8))
    _check(model, torch.rand(2, 3, 64, 64),
           [f'backbone.hourglass_modules.{i}' for i in (0, 1)],
           ['out_convs.1'])


def test_neck_of_a_classifier():
    model = _build(
        'mmpretrain',
        type='ImageClassifier',
        backbone=dict(type='HRNet', arch='w18'),
        neck=dict(type='HRFuseScales', in_channels=(18, 36, 72, 144)))
    _check(model, torch.rand(2, 3, 64, 64), [
        'backbone.layer1', 'backbone.stage2', 'backbone.stage3',
        'backbone.stage4', 'neck'
    ])


@pytest.mark.parametrize(
    'cfg, stages', [
        (dict(model_name='resnet18', features_only=True), FOUR),
        (dict(model_name='mobilenetv3_small_050',
              features_only=True), [f'blocks.{i}' for i in range(6)]),
        (dict(model_name='vit_tiny_patch16_224'),
         [f'blocks.{i}' for i in (2, 5, 8, 11)]),
    ],
    ids=lambda value: value['model_name'] if isinstance(value, dict) else '')
def test_timm(cfg, stages):
    pytest.importorskip('timm', reason='TIMMBackbone needs timm')
    model = _classifier('TIMMBackbone', **cfg)
    _check(model, torch.rand(2, 3, 224, 224),
           [f'backbone.timm_model.{name}' for name in stages],
           ['timm_model.norm'] if 'vit' in cfg['model_name'] else ())


class Whole(nn.Module):
    """Wraps a whole model, like those for Hugging Face and timm."""

    def __init__(self, attribute):
        super().__init__()
        stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, 2), nn.ReLU(True))
            for _ in range(3))
        self.add_module(attribute, nn.Module())
        inner = getattr(self, attribute)
        inner.encoder = nn.Module()
        inner.encoder.stages = stages
        inner.classifier = nn.Linear(3, 2)
        self.stages = lambda: stages

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for stage in self.stages():
            inputs = stage(inputs)
        return inputs


@pytest.mark.parametrize('attribute', ['backbone', 'model'])
def test_wrapped_models(attribute):
    _check(
        Whole(attribute), torch.rand(2, 3, 32, 32),
        [f'{attribute}.encoder.stages.{i}' for i in range(3)], ['classifier'])


def test_whole_stages_of_a_swin():
    # They output the merged patches for the next stage, and the unmerged ones,
    # each with its size. Only the former are compared, so that a loss on them
    # reaches the merging, too.
    model = _detector(*DETECTORS['SwinTransformer'][:2])
    taps = [f'backbone.stages.{i}' for i in range(4)]
    partition = StagePartition(model, parse_stages(taps, model, [model]),
                               torch.rand(2, 3, 64, 64))
    assert [[tuple(x.shape) for x in f]
            for f in partition.features.values()] == [[(2, 64, 16)],
                                                      [(2, 16, 32)],
                                                      [(2, 4, 64)],
                                                      [(2, 4, 64)]]
    assert any('stages.0.downsample' in n
               for n in partition.params['stages.0'])


def test_different_families_are_refused_with_both_lists():
    teacher = _detector(
        dict(type='ResNet', depth=50), _fpn(256, 512, 1024, 2048))
    student = _detector(*DETECTORS['MobileNetV2'][:2])
    with pytest.raises(ValueError) as error:
        parse_stages('auto', student, [teacher])
    rows = [line.split() for line in str(error.value).splitlines()]
    assert rows[1:-1] == [['student', 'teacher']] + [[
        s, t
    ] for s, t in zip([f'backbone.layer{i}' for i in range(1, 8)] +
                      ['neck'], [f'backbone.{name}'
                                 for name in FOUR] + ['neck', '-', '-', '-'])]


def test_equal_numbers_are_paired_across_families():
    teacher = _classifier('ResNet', **RESNET)
    student = _classifier('MobileNetV3', arch='small')
    pairs = parse_stages('auto', student, [teacher])
    assert [(s.student, *s.teachers) for s in pairs] == [
        ('backbone.layer1', 'backbone.layer1'),
        ('backbone.layer3', 'backbone.layer2'),
        ('backbone.layer8', 'backbone.layer3'),
        ('backbone.layer12', 'backbone.layer4'),
    ]


def test_no_list_of_stages():
    model = _classifier('InceptionV3')
    with pytest.raises(
            ValueError,
            match='does not know the stages of '
            "InceptionV3.*'backbone.Mixed_7c'"):
        find_stages(model)
