# Copyright (c) sskd_mm authors. All rights reserved.
"""Convert timm's ResNets.

python tools/model_converters/timm_to_mmpretrain.py CONFIG SRC DST

CONFIG is the plain config of the classifier: mmpretrain's ResNet for
resnet18, resnet50, ..., its ResNeXt for resnext50_32x4d, ..., its ResNetV1d
for resnet18d, resnet50d, ... SRC is a PyTorch file, such as pytorch_model.bin
from the Hugging Face Hub (not .safetensors), or the output of
torch.save(timm.create_model('resnet50', pretrained=True).state_dict(), FILE).
"""
import re

from sskd_mm_cli import convert_from_command_line, run_tool


def resnet_v1d(key):
    match = re.fullmatch(r'conv1\.([0134])\.(\w+)', key)
    if match:
        number = int(match[1])
        part = 'bn' if number % 3 else 'conv'
        return f'stem.{number // 3}.{part}.{match[2]}'
    # The third convolution of the stem and its norm are separate modules.
    key = re.sub(r'^conv1\.6\.', 'stem.2.conv.', key)
    key = re.sub(r'^bn1\.', 'stem.2.bn.', key)
    # Only timm keeps a placeholder for a missing pooling.
    return re.sub(r'^layer1\.0\.downsample\.([12])\.',
                  lambda match: f'layer1.0.downsample.{int(match[1]) - 1}.',
                  key)


def rename(key, backbone):
    """Map a key of the file to one of mmpretrain's ImageClassifier."""
    if key in ('fc.weight', 'fc.bias'):
        return f'head.{key}'
    if type(backbone).__name__ == 'ResNetV1d':
        key = resnet_v1d(key)
    return f'backbone.{key}'


def main():
    convert_from_command_line('Convert timm\'s ResNets', rename)


if __name__ == '__main__':
    run_tool(main)
