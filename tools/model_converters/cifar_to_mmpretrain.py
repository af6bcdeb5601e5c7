# Copyright (c) sskd_mm authors. All rights reserved.
"""Convert public weights of networks for CIFAR.

python tools/model_converters/cifar_to_mmpretrain.py CONFIG SRC DST

CONFIG is the plain config of the classifier. SRC is a file of

- akamaster/pytorch_resnet_cifar10, e.g. resnet56-4bfd9763.th: CIFARResNet
  with shortcut='A';
- HobbitLong/RepDistiller, megvii-research/mdistiller and what descends from
  them, e.g. ckpt_epoch_240.pth: CIFARResNet, WideResNet, CIFARVGG,
  CIFARMobileNetV2, CIFARShuffleNetV1, CIFARShuffleNetV2, and mmpretrain's
  ResNet_CIFAR for their ResNet50;
- chenyaofo/pytorch-cifar-models, e.g. cifar100_resnet56-f2eff4c8.pt: its
  ResNets, as CIFARResNet.
"""
import argparse
import re

from sskd_mm.models import convert_checkpoint


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
    # A pooling begins all stages but the first.
    return f'layer{block + 1}.{layer + (block > 0)}.{name}'


def mobilenet_v2(key, backbone):
    key = re.sub(r'^conv2\.', 'layer4.conv.', key)
    match = re.fullmatch(r'blocks\.(\d)\.(\d)\.conv\.(\d)\.(\w+)', key)
    if match is None:
        return key
    group, block, layer, name = match.groups()
    # The stage that a group of blocks is in, and how many come before it.
    stage, before = ((1, 0), (1, 1), (2, 0), (3, 0), (3, 4), (4, 0),
                     (4, 3))[int(group)]
    layer = {
        '0': '0.0',
        '1': '0.1',
        '3': '1.0',
        '4': '1.1',
        '6': '2',
        '7': '3'
    }.get(layer)
    return f'layer{stage}.{int(block) + before}.conv.{layer}.{name}'


def shufflenet_v1(key, backbone):
    return _shufflenet(
        key,
        dict(
            conv1='conv.0.0',
            bn1='conv.0.1',
            conv2='conv.2.0',
            bn2='conv.2.1',
            conv3='conv.3',
            bn3='conv.4'))


def shufflenet_v2(key, backbone):
    names = dict(
        conv1='branch2.0',
        bn1='branch2.1',
        conv2='branch2.3',
        bn2='branch2.4',
        conv3='branch2.5',
        bn3='branch2.6')
    if re.match(r'layer\d\.0\.', key):
        names = dict(
            conv1='branch1.0',
            bn1='branch1.1',
            conv2='branch1.2',
            bn2='branch1.3',
            conv3='branch2.0',
            bn3='branch2.1',
            conv4='branch2.3',
            bn4='branch2.4',
            conv5='branch2.5',
            bn5='branch2.6')
    return _shufflenet(key, names)


def _shufflenet(key, names):
    """The stem, the last convolution, and by these names the blocks."""
    for number, path in (('1', 'conv1'), ('2', 'layer3.conv')):
        key = re.sub(f'^conv{number}\\.', f'{path}.0.', key)
        key = re.sub(f'^bn{number}\\.', f'{path}.1.', key)
    match = re.fullmatch(r'(layer\d\.\d)\.(\w+\d)\.(\w+)', key)
    if match is None:
        return key
    return f'{match[1]}.{names.get(match[2], match[2])}.{match[3]}'


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
    """The key of mmpretrain's ImageClassifier for one of the file."""
    match = re.fullmatch(r'(?:linear|fc|classifier(?:\.0)?)\.(weight|bias)',
                         key)
    if match:
        return f'head.fc.{match[1]}'
    family = type(backbone).__name__
    if family not in FAMILIES:
        raise ValueError(f'The config\'s backbone is a {family}; this tool '
                         f'converts to {", ".join(FAMILIES)}.')
    return f'backbone.{FAMILIES[family](key, backbone)}'


def parse_args():
    parser = argparse.ArgumentParser(
        description='Convert public weights of networks for CIFAR')
    parser.add_argument('config', help='plain config of the classifier')
    parser.add_argument('src', help='path or URL of the public weights')
    parser.add_argument('dst', help='checkpoint to write')
    return parser.parse_args()


def main():
    args = parse_args()
    convert_checkpoint(args.config, args.src, args.dst, rename)
    print(f'{args.dst} loads in {args.config}.')


if __name__ == '__main__':
    main()
