# Copyright (c) sskd_mm authors. All rights reserved.
"""Measure size, FLOPs and speed of a teacher and its student, at the size of
the test images.

python tools/analysis_tools/benchmark.py CONFIG --checkpoint CHECKPOINT

With a plain config, measures that network alone. The speed of a detector
depends on its weights, since NMS takes longer for more boxes: give the
checkpoint.
"""
import itertools
import json

from rich.table import Table

from sskd_mm_cli import ConfigParser, add_device_option, run_tool


def main():
    parser = ConfigParser(__doc__, 'of a distillation, or a plain one')
    parser.add_argument(
        '--checkpoint', help='of the student; without it, random weights')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images per batch')
    parser.add_argument(
        '--repeats',
        type=int,
        default=50,
        help='how often each network is timed')
    add_device_option(parser)
    parser.add_argument('--out', help='a JSON file to write')
    args = parser.parse_args()
    import torch

    from sskd_mm.analysis import (build_test_loader, load_networks,
                                  measure_costs, name_device)
    cfg = parser.read_config(args)
    loader = build_test_loader(cfg, args.batch_size)
    # A few batches, so that no single image dominates; no incomplete one.
    whole = len(loader.dataset) // args.batch_size
    batches = list(itertools.islice(loader, min(10, max(1, whole))))
    networks = load_networks(cfg, loader, args.checkpoint)
    torch.backends.cudnn.benchmark = bool(
        cfg.get('env_cfg', {}).get('cudnn_benchmark'))
    result = measure_costs(networks, batches, args.repeats, args.device)
    show(result, args)
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(
                dict(
                    config=args.config,
                    checkpoint=args.checkpoint,
                    device=name_device(args.device),
                    threads=torch.get_num_threads(),
                    torch=torch.__version__,
                    batch_size=args.batch_size,
                    repeats=args.repeats,
                    networks=result),
                file,
                indent=2)


def show(result: dict, args) -> None:
    from sskd_mm.analysis import format_gflops, name_device, stdout_console
    sizes = {
        ' x '.join(map(str, row['image_size']))
        for row in result.values()
    }
    table = Table(
        title=f'{" and ".join(sizes)}, batch {args.batch_size}, '
        f'{name_device(args.device)}',
        caption='milliseconds per batch: median, 5th and 95th percentile; '
        'without reading the image')
    for column in ('', 'type', 'parameters', 'GFLOPs', 'ms', '5 - 95 %',
                   'images/s'):
        table.add_column(
            column, justify='right' if column else 'left', overflow='fold')
    for name, row in result.items():
        table.add_row(name, row['type'], f'{row["parameters"]:,}',
                      format_gflops(row['gflops']), f'{row["median_ms"]:.2f}',
                      f'{row["p5_ms"]:.2f} - {row["p95_ms"]:.2f}',
                      f'{row["fps"]:.1f}')
    stdout_console().print(table)


if __name__ == '__main__':
    run_tool(main)
