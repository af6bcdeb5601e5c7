# Copyright (c) sskd_mm authors. All rights reserved.
"""Draw a teacher's feature maps above its student's, over test images.

python tools/analysis_tools/feature_maps.py CONFIG CHECKPOINT -o features.png
"""
import argparse

from mmengine.config import Config, DictAction

from sskd_mm.analysis import (build_test_loader, draw_feature_maps,
                              load_distiller)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a distillation')
    parser.add_argument('checkpoint', help='of the student')
    parser.add_argument(
        '-o', '--out', required=True, help='the picture to write')
    parser.add_argument(
        '--images', type=int, default=3, help='of the test set')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value, nested keys with '
        'dots, lists as key="[a,b]"')
    return parser.parse_args()


def main():
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    loader = build_test_loader(cfg)
    distiller = load_distiller(cfg, loader, args.checkpoint)
    draw_feature_maps(distiller, loader, args.images, args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
