# Copyright (c) sskd_mm authors. All rights reserved.
"""Evaluate face recognition by the protocols that papers report.

python tools/face_eval.py CONFIG CHECKPOINT --protocol bin --data lfw.bin
python tools/face_eval.py CONFIG CHECKPOINT --protocol ijbc --data data/IJBC
python tools/face_eval.py --embeddings x.npy --protocol folder --data faces

The config is either a distiller's or the student's plain one; its test
pipeline says how images are loaded, to which size faces are cropped
(AlignFace, CropFace), and what follows.

    bin     insightface's pickles of pairs, one or several
    pairs   lists of pairs, with the images below --image-root
    folder  one folder per person: all pairs, and the first images of each
            person as gallery
    ijba    IJB-A's own metadata files; images below --image-root
    ijbb, ijbc   metadata and images as insightface publishes them
"""
import json
import os
import os.path as osp
from typing import Dict, List

from rich.table import Table

from sskd_mm_cli import (ToolParser, add_cfg_options, add_device_option,
                         add_pickle_option, run_tool)


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', help='config file path')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file')
    parser.add_argument(
        '--protocol',
        required=True,
        choices=['bin', 'pairs', 'folder', 'ijba', 'ijbb', 'ijbc'])
    parser.add_argument(
        '--data',
        nargs='+',
        required=True,
        help='.bin files, lists of pairs, or a folder')
    parser.add_argument(
        '--image-root', default='', help='folder of the images of a list')
    parser.add_argument(
        '--gallery',
        type=int,
        default=1,
        help='images per person in the gallery, for folder')
    parser.add_argument(
        '--embeddings',
        nargs='+',
        help='.npy files of embeddings (N x D) in the order of the images, '
        'one for each of --data, to score instead of a model')
    parser.add_argument(
        '--no-mirror',
        action='store_true',
        help='do not add the embeddings of mirrored images')
    parser.add_argument(
        '--quality-weights',
        action='store_true',
        help='weight faces in a template by the length of their embeddings '
        "and, for ijbb and ijbc, the face detector's score, as in "
        "insightface's results")
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--num-workers', type=int, default=2)
    add_device_option(parser)
    parser.add_argument(
        '--work-dir',
        help='where to write embeddings, figures and plots; by default '
        'work_dirs/face_eval/RUN_NAME-DIGEST, by the folder, name and content '
        'of the checkpoint')
    add_pickle_option(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.embeddings is None and args.checkpoint is None:
        parser.error('give a CONFIG and a CHECKPOINT, or --embeddings')
    if args.embeddings and len(args.embeddings) != len(args.data):
        parser.error(f'{len(args.embeddings)} files of --embeddings do not '
                     f'go with {len(args.data)} of --data')
    if args.protocol not in ('bin', 'pairs') and len(args.data) > 1:
        parser.error(f'--protocol {args.protocol} takes one folder of data')
    return args


def main():
    args = parse_args()
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from sskd_mm.analysis import (embed_faces, face_protocol, load_face_model,
                                  plot_faces, read_embeddings)
    from sskd_mm.compat import apply_pickle_option
    cfg = Config() if args.config is None else Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is None:
        args.work_dir = osp.join('work_dirs', 'face_eval',
                                 name_of(args.checkpoint or
                                         args.embeddings[0]))
    os.makedirs(args.work_dir, exist_ok=True)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    apply_pickle_option(args, cfg)
    model = None if args.embeddings else load_face_model(
        cfg, args.checkpoint).to(args.device)

    figures, verifications, identifications = {}, {}, {}
    for number, data in enumerate(args.data):
        protocol = face_protocol(args.protocol, data, args.image_root,
                                 args.gallery, args.quality_weights)
        if args.embeddings:
            x = read_embeddings(args.embeddings[number], protocol.dataset)
        else:
            name = '_'.join(osp.abspath(data).split(os.sep)[-2:])
            x = embed_faces(
                model,
                cfg,
                args.checkpoint,
                protocol.dataset,
                protocol.cut,
                file=osp.join(args.work_dir, f'{args.protocol}_{name}.npy'),
                batch_size=args.batch_size,
                num_workers=args.num_workers,
                mirror=not args.no_mirror)
        parts, figures[osp.basename(osp.abspath(data))] = protocol.score(
            torch.as_tensor(x, device=args.device))
        for name, (verification, identification) in parts.items():
            verifications[name] = verification
            if identification is not None:
                identifications[name] = identification

    show(figures, args.protocol)
    base = osp.join(args.work_dir, args.protocol)
    with open(f'{base}.json', 'w') as file:
        json.dump(
            dict(
                protocol=args.protocol,
                config=args.config,
                checkpoint=args.checkpoint,
                mirrored=None if args.embeddings else not args.no_mirror,
                figures=figures),
            file,
            indent=1)
    plot_faces(f'{base}.png', verifications, identifications, args.protocol)
    print(f'Written: {base}.json, {base}.png')


def name_of(file: str) -> str:
    """Get a unique name for a model, e.g. ``run_epoch_30-047c8118``."""
    from sskd_mm.analysis import digest_file
    file = osp.abspath(osp.expanduser(file))
    run, name = file.split(os.sep)[-2:]
    return f'{run}_{osp.splitext(name)[0]}-{digest_file(file)[:8]}'


def show(figures: Dict[str, dict], title: str) -> None:
    """Print one row per metric and one column per data set."""
    from sskd_mm.analysis import stdout_console
    table = Table(title=f'{title}, in percent')
    table.add_column('figure')
    names: List[str] = []
    for name, values in figures.items():
        table.add_column(name, justify='right')
        names += [key for key in values if key not in names]
    for key in names:
        table.add_row(
            key, *(f'{v[0]:.2f} ± {v[1]:.2f}' if isinstance(v, tuple) else
                   f'{v:.2f}'
                   for v in (values[key] for values in figures.values())))
    stdout_console().print(table)


if __name__ == '__main__':
    run_tool(main)
