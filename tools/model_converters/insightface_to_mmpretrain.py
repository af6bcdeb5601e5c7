# Copyright (c) sskd_mm authors. All rights reserved.
"""Convert insightface's face recognition backbones.

python tools/model_converters/insightface_to_mmpretrain.py CONFIG SRC DST

CONFIG is the plain config of a network without class centres, such as
configs/_base_/models/face_iresnet50.py; insightface keeps class centres in
separate files. SRC is a backbone of arcface_torch, e.g. backbone.pth:
iresnet18, 34, 50 and 100 as IResNet; mbf and mbf_large as MobileFaceNet.
"""
import re

from sskd_mm_cli import convert_from_command_line, run_tool


def iresnet(key, backbone):
    return key


def mobilefacenet(key, backbone):
    # Each module keeps its parts in a container named `layers`.
    path = key.replace('.layers.', '.')
    match = re.fullmatch(r'layers\.(\d)\.(.+)', path)
    if match:
        number, rest = int(match[1]), match[2]
        stage = f'layer{number // 2 + 1}'
        if number == 0:
            return f'{stage}.0.{rest}'
        if number % 2 == 0:  # The strided block that begins a stage.
            return f'{stage}.0.conv.{rest}'
        block = re.fullmatch(r'(\d+)\.(\d\.\d\.\w+)', rest)
        if block:
            return f'{stage}.{int(block[1]) + 1}.conv.{block[2]}'
        return f'{stage}.1.{rest}'
    match = re.fullmatch(r'conv_sep\.(.+)', path)
    if match:
        return f'layer4.{len(backbone.layer4) - 1}.{match[1]}'
    for theirs, ours in (('0.0', 'conv'), ('0.1', 'bn1'), ('2', 'fc'),
                         ('3', 'bn2')):
        prefix = f'features.{theirs}.'
        if path.startswith(prefix):
            return f'features.{ours}.{path[len(prefix):]}'
    return key


FAMILIES = {'IResNet': iresnet, 'MobileFaceNet': mobilefacenet}


def rename(key, backbone):
    """Map a key of the file to one of mmpretrain's ImageClassifier."""
    family = type(backbone).__name__
    if family not in FAMILIES:
        raise ValueError(f'The config\'s backbone is a {family}; this tool '
                         f'converts to {", ".join(FAMILIES)}.')
    return f'backbone.{FAMILIES[family](key, backbone)}'


def main():
    convert_from_command_line('Convert insightface\'s backbones', rename)


if __name__ == '__main__':
    run_tool(main)
