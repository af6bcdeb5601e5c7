# Copyright (c) sskd_mm authors. All rights reserved.
"""Convert torchvision's ResNets and MobileNetV2.

python tools/model_converters/torchvision_to_mmpretrain.py CONFIG SRC DST

CONFIG is the plain config of the classifier, with mmpretrain's ResNet,
ResNeXt or MobileNetV2. SRC is a torchvision file or URL, e.g.
https://download.pytorch.org/models/resnet34-b627a593.pth.
"""
import re

from sskd_mm_cli import convert_from_command_line, run_tool

# Index of the first block of each stage in torchvision's features.
MOBILENET_V2_STAGES = (1, 2, 4, 7, 11, 14, 17)
PARTS = {'0': 'conv', '1': 'bn'}


def mobilenet_v2(key):
    match = re.fullmatch(r'features\.(0|18)\.([01])\.(\w+)', key)
    if match:
        path = 'conv1' if match[1] == '0' else 'conv2'
        return f'{path}.{PARTS[match[2]]}.{match[3]}'
    match = re.fullmatch(r'features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(\w+)',
                         key)
    if match is None:
        return key
    block, layer, part, name = match.groups()
    block, layer = int(block), int(layer)
    if part is None:
        # The last convolution is a separate module, followed by its norm.
        last = 1 if block == 1 else 2
        layer, part = last, str(layer - last)
    stage = sum(start <= block for start in MOBILENET_V2_STAGES)
    block -= MOBILENET_V2_STAGES[stage - 1]
    return f'layer{stage}.{block}.conv.{layer}.{PARTS[part]}.{name}'


def rename(key, backbone):
    """Map a key of the file to one of mmpretrain's ImageClassifier."""
    match = re.fullmatch(r'(?:fc|classifier\.1)\.(weight|bias)', key)
    if match:
        return f'head.fc.{match[1]}'
    if type(backbone).__name__ == 'MobileNetV2':
        key = mobilenet_v2(key)
    return f'backbone.{key}'


def main():
    convert_from_command_line(
        'Convert torchvision\'s ResNets and MobileNetV2', rename)


if __name__ == '__main__':
    run_tool(main)
