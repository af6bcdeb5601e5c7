# Copyright (c) sskd_mm authors. All rights reserved.
"""Overlay a teacher's feature maps, above its student's, on test images.

python tools/analysis_tools/feature_maps.py CONFIG CHECKPOINT -o features.png
"""
from sskd_mm_cli import ConfigParser, run_tool


def main():
    parser = ConfigParser(__doc__, 'of a distillation')
    parser.add_argument('checkpoint', help='of the student')
    parser.add_argument(
        '-o', '--out', required=True, help='the picture to write')
    parser.add_argument(
        '--images', type=int, default=3, help='of the test set')
    args = parser.parse_args()
    from sskd_mm.analysis import (build_test_loader, draw_feature_maps,
                                  load_distiller)
    cfg = parser.read_config(args)
    loader = build_test_loader(cfg)
    distiller = load_distiller(cfg, loader, args.checkpoint)
    draw_feature_maps(distiller, loader, args.images, args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
