# Copyright (c) sskd_mm authors. All rights reserved.
"""Where parameters and FLOPs of a teacher and its student are: a table and a
picture of their parts, at the size of the test images.

python tools/analysis_tools/complexity.py CONFIG -o complexity.png
"""
import argparse

from mmengine.config import Config, DictAction
from rich.console import Console
from rich.table import Table

from sskd_mm.analysis import (build_test_loader, describe_parts, load_networks,
                              plot_complexity)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a distillation, or a plain one')
    parser.add_argument(
        '-o', '--out', required=True, help='the picture to write')
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
    batch = next(iter(loader))
    networks = {
        name: describe_parts(model, batch)
        for name, model in load_networks(cfg, loader, None).items()
    }
    for name, parts in networks.items():
        table = Table(title=name)
        for column in ('part', 'parameters', 'GFLOPs'):
            table.add_column(
                column, justify='left' if column == 'part' else 'right')
        for part in parts:
            table.add_row(part['part'], f'{part["parameters"]:,}',
                          f'{part["gflops"]:.4f}')
        table.add_section()
        table.add_row('all', f'{sum(p["parameters"] for p in parts):,}',
                      f'{sum(p["gflops"] for p in parts):.4f}')
        Console().print(table)
    plot_complexity(networks, args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
