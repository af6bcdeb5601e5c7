# Copyright (c) sskd_mm authors. All rights reserved.
"""Convert public weights of CIFAR networks.

python tools/model_converters/cifar_to_mmpretrain.py CONFIG SRC DST

CONFIG is the plain config of the classifier. SRC is a file of

- akamaster/pytorch_resnet_cifar10, e.g. resnet56-4bfd9763.th: CIFARResNet
  with shortcut='A';
- HobbitLong/RepDistiller, megvii-research/mdistiller and their descendants,
  e.g. ckpt_epoch_240.pth: CIFARResNet, WideResNet, CIFARVGG,
  CIFARMobileNetV2, CIFARShuffleNetV1, CIFARShuffleNetV2, and mmpretrain's
  ResNet_CIFAR for their ResNet50;
- chenyaofo/pytorch-cifar-models, e.g. cifar100_resnet56-f2eff4c8.pt: its
  ResNets, as CIFARResNet.
"""
import re

from sskd_mm_cli import convert_from_command_line, run_tool


def resnet(key, backbone):
    return key.replace('.shortcut.', '.downsample.')


def wide_resnet(key, backbone):
    key = re.sub(r'^block(\d)\.layer\.', r'layer\1.', key)
    key = re.sub(r'^bn1\.', 'layer3.bn.', key)
    return key.replace('.convShortcut.', '.shortcut.')


def vgg(key, backbone):
    match = re.fullmatch(r'block(\d)\.(\d+)\.(\w+)', key)
    if match is None:
        return key
    block, layer, name = int(match[1]), int(match[2]), match[3]
    if block == 4:  # Goes on where block3 ends, halfway through layer4.
        block, layer = 3, layer + len(backbone.layer4) // 2
    # Every stage but the first begins with a pooling.
    return f'layer{block + 1}.{layer + (block > 0)}.{name}'


def mobilenet_v2(key, backbone):
    key = re.sub(r'^conv2\.', 'layer4.conv.', key)
    match = re.fullmatch(r'blocks\.([0-6])\.(\d)\.conv\.(\d)\.(\w+)', key)
    if match is None:
        return key
    group, block, layer, name = match.groups()
    # The stage of a group of blocks, and the number of blocks before it.
    stage, before = ((1, 0), (1, 1), (2, 0), (3, 0), (3, 4), (4, 0),
                     (4, 3))[int(group)]
    # Two of the convolutions have separate norms and ReLUs.
    layer = ['0.0', '0.1', None, '1.0', '1.1', None, '2', '3'][int(layer)]
    return f'layer{stage}.{int(block) + before}.conv.{layer}.{name}'


def shufflenet_v1(key, backbone):
    return _shufflenet(
        key,
        ['conv.0.0', 'conv.0.1', 'conv.2.0', 'conv.2.1', 'conv.3', 'conv.4'])


def shufflenet_v2(key, backbone):
    paths = [f'branch2.{i}' for i in (0, 1, 3, 4, 5, 6)]
    if re.match(r'layer\d\.0\.', key):
        paths = [f'branch1.{i}' for i in range(4)] + paths
    return _shufflenet(key, paths)


def _shufflenet(key, paths):
    """Map the stem, the last convolution, and a block's conv1, bn1, conv2,
    bn2, ... at these paths."""
    match = re.fullmatch(r'(?:(layer\d\.\d)\.)?(conv|bn)(\d)\.(\w+)', key)
    if match is None:
        return key
    block, kind, number, name = match.groups()
    if block is None:
        block = 'conv1' if number == '1' else 'layer3.conv'
        path = '0' if kind == 'conv' else '1'
    else:
        names = [f'{k}{i}' for i in range(1, 6) for k in ('conv', 'bn')]
        path = dict(zip(names, paths)).get(kind + number)
    return f'{block}.{path}.{name}'


FAMILIES = {
    'CIFARResNet': resnet,
    'ResNet_CIFAR': resnet,
    'WideResNet': wide_resnet,
    'CIFARVGG': vgg,
    'CIFARMobileNetV2': mobilenet_v2,
    'CIFARShuffleNetV1': shufflenet_v1,
    'CIFARShuffleNetV2': shufflenet_v2,
}


def rename(key, backbone):
    """Map a key of the file to one of mmpretrain's ImageClassifier."""
    match = re.fullmatch(r'(?:linear|fc|classifier(?:\.0)?)\.(weight|bias)',
                         key)
    if match:
        return f'head.fc.{match[1]}'
    family = type(backbone).__name__
    if family not in FAMILIES:
        raise ValueError(f'The config\'s backbone is a {family}; this tool '
                         f'converts to {", ".join(FAMILIES)}.')
    return f'backbone.{FAMILIES[family](key, backbone)}'


def main():
    convert_from_command_line(
        'Convert public weights of networks for CIFAR', rename)


if __name__ == '__main__':
    run_tool(main)
