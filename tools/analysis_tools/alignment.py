# Copyright (c) sskd_mm authors. All rights reserved.
"""Measure how similar a student's features are to its teacher's: a table of
the taps, and a picture of the CKA between all taps of both.

python tools/analysis_tools/alignment.py CONFIG CHECKPOINT -o alignment.png

To compare any two checkpoints, set model.teacher to the second:

python tools/analysis_tools/alignment.py CONFIG FIRST -o alignment.png \\
    --cfg-options model.teacher.cfg=CONFIG_OF_SECOND \\
    model.teacher.checkpoint=SECOND
"""
import json
from pathlib import Path

from rich.table import Table

from sskd_mm_cli import ConfigParser, run_tool


def main():
    parser = ConfigParser(__doc__, 'of a distillation')
    parser.add_argument('checkpoint', help='of the student')
    parser.add_argument(
        '-o', '--out', required=True, type=Path,
        help='the picture to write; the figures go beside it, as JSON')
    parser.add_argument(
        '--images', type=int, default=64, help='of the test set')
    parser.add_argument('--batch-size', type=int, default=8)
    args = parser.parse_args()
    from sskd_mm.analysis import (ModulePath, build_test_loader,
                                  load_distiller, measure_alignment,
                                  measure_cka_matrix, plot_cka_matrix,
                                  stdout_console)
    cfg = parser.read_config(args)
    loader = build_test_loader(cfg, args.batch_size)
    distiller = load_distiller(cfg, loader, args.checkpoint)
    batches = -(-args.images // args.batch_size)
    figures = measure_alignment(distiller, loader, list(distiller.stages),
                                batches)
    table = Table(caption='relative L2 and cosine only without an adapter: a '
                  'checkpoint is the student without adapters')
    for column in ('tap', 'CKA', 'cosine', 'relative L2'):
        table.add_column(column, justify='right' if column != 'tap' else None)
    for name, values in figures.items():
        if any(True for _ in distiller.adapters_of(name).parameters()):
            del values['cosine'], values['relative_l2']
        table.add_row(
            ModulePath(name),
            *(f'{values[key]:.3f}' if key in values else '-'
              for key in ('cka', 'cosine', 'relative_l2')))
    stdout_console().print(table)
    student, teacher, matrix = measure_cka_matrix(distiller, loader, batches)
    plot_cka_matrix(student, teacher, matrix, args.out)
    args.out.with_suffix('.json').write_text(
        json.dumps(
            dict(
                config=args.config,
                checkpoint=args.checkpoint,
                images=min(args.images, len(loader.dataset)),
                taps=figures,
                cka=dict(student=student, teacher=teacher, matrix=matrix)),
            indent=2))
    print(f'Written: {args.out}, {args.out.with_suffix(".json")}')


if __name__ == '__main__':
    run_tool(main)
