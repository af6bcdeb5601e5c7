# Copyright (c) sskd_mm authors. All rights reserved.
"""Show parameters and FLOPs of a teacher and its student by part, as a table
and a picture, at the size of the test images.

python tools/analysis_tools/complexity.py CONFIG -o complexity.png
"""
from rich.table import Table

from sskd_mm_cli import ConfigParser, run_tool


def main():
    parser = ConfigParser(__doc__, 'of a distillation, or a plain one')
    parser.add_argument(
        '-o', '--out', required=True, help='the picture to write')
    args = parser.parse_args()
    from sskd_mm.analysis import (ModulePath, build_test_loader,
                                  describe_parts, format_gflops, load_networks,
                                  plot_complexity, stdout_console)
    cfg = parser.read_config(args)
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
            table.add_row(
                ModulePath(part['part']), f'{part["parameters"]:,}',
                format_gflops(part['gflops'], '.4f'))
        table.add_section()
        gflops = [part['gflops'] for part in parts]
        table.add_row(
            'all', f'{sum(p["parameters"] for p in parts):,}',
            format_gflops(None if None in gflops else sum(gflops), '.4f'))
        stdout_console().print(table)
    plot_complexity(networks, args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
