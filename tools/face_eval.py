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
import argparse
import hashlib
import json
import os
import os.path as osp
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console
from rich.table import Table

from sskd_mm.analysis import plot_faces
from sskd_mm.compat import (add_pickle_option, apply_pickle_option,
                            load_checkpoint_file)
from sskd_mm.evaluation import (IJB, IJBA, Verification, all_pairs,
                                extract_embeddings, face_pipeline, identify,
                                normalize_embeddings)
from sskd_mm.models import build_model, model_config

FARS = (0.1, 0.01, 0.001)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
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
        help='a face weighs in its template by the length of its embedding '
        "and, for ijbb and ijbc, its detector's score, as in insightface's "
        'figures')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--num-workers', type=int, default=2)
    parser.add_argument(
        '--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--work-dir', help='where to write embeddings, '
                        'figures and plots')
    add_pickle_option(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value, nested keys with '
        'dots, lists as key="[a,b]"')
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
    cfg = Config() if args.config is None else Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is None:
        name = args.checkpoint or args.embeddings[0]
        args.work_dir = osp.join('work_dirs', 'face_eval',
                                 osp.splitext(osp.basename(name))[0])
    os.makedirs(args.work_dir, exist_ok=True)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    apply_pickle_option(args, cfg)
    model = None if args.embeddings else load_model(cfg, args)

    figures, verifications, identifications = {}, {}, {}
    for number, data in enumerate(args.data):
        dataset, cut, score = PROTOCOLS[args.protocol](data, args)
        if args.embeddings:
            x = load_embeddings(args.embeddings[number], dataset)
        else:
            x = extract(model, cfg, dataset, cut, data, args)
        parts, figures[osp.basename(osp.abspath(data))] = score(
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


def load_model(cfg: Config, args) -> torch.nn.Module:
    """The model with its weights; the head plays no part."""
    model = build_model(cfg)
    weights = load_checkpoint_file(args.checkpoint)
    weights = weights.get('state_dict', weights)
    missing, unexpected = model.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith('head.')},
        strict=False)
    missing = [k for k in missing if not k.startswith('head.')]
    if missing or unexpected:
        raise ValueError(
            f'{args.checkpoint!r} is not of the model in {args.config!r}: '
            f'{len(missing)} weights are missing, as {missing[:3]}, and '
            f'{len(unexpected)} unknown, as {unexpected[:3]}.')
    return model.to(args.device)


def load_embeddings(file: str, dataset: dict) -> np.ndarray:
    try:
        x = np.load(file, mmap_mode='r', allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(
            f'{file!r} was not read: {error}. It must be an .npy file of '
            'numbers (N, D); copy it again if it is cut off.') from error
    count = len(DATASETS.build(dict(dataset, pipeline=[])))
    shape = getattr(x, 'shape', None)  # None of an archive of several
    if shape is None or len(shape) != 2 or len(x) != count:
        raise ValueError(f'{file!r} has shape {shape}, but there are '
                         f'{count} images: it must be (N, D).')
    return np.array(x, np.float32)


def extract(model, cfg: Config, dataset: dict, cut: Optional[str], data: str,
            args) -> np.ndarray:
    """Embeddings of a set's images, kept in the work directory."""
    pipeline = face_pipeline(cfg, dataset['type'] == 'FaceBin', cut)
    built = DATASETS.build(
        dict(dataset, pipeline=pipeline, test_mode=True))
    name = '_'.join(osp.abspath(data).split(os.sep)[-2:])
    return extract_embeddings(
        model,
        built,
        args.batch_size,
        args.num_workers,
        mirror=not args.no_mirror,
        file=osp.join(args.work_dir, f'{args.protocol}_{name}.npy'),
        key=dict(
            checkpoint=digest_file(args.checkpoint),
            model=digest(model_config(cfg)),
            pipeline=digest(pipeline),
            images=digest_images(built)))


def digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def digest_file(file: str) -> str:
    with open(osp.expanduser(file), 'rb') as opened:
        return hashlib.sha256(opened.read()).hexdigest()[:16]


def digest_images(dataset) -> str:
    """Of the names and sizes of all files, and what else is known of them."""
    hashed = hashlib.sha256()
    sizes: Dict[str, int] = {}
    for index in range(len(dataset)):
        info = BaseDataset.get_data_info(dataset, index)  # not decoded
        file = info['img_path'].rsplit('#', 1)[0]
        if file not in sizes:
            sizes[file] = osp.getsize(file)
        info.pop('sample_idx')
        hashed.update(repr((sorted(info.items()), sizes[file])).encode())
    return hashed.hexdigest()[:16]


#: The data set, how its faces are cut, and what scores their embeddings.
Protocol = Tuple[dict, Optional[str], Callable[[torch.Tensor], Tuple[dict,
                                                                     dict]]]


def bins(data: str, args) -> Protocol:
    return scored_pairs(dict(type='FaceBin', ann_file=data), data)


def pairs(data: str, args) -> Protocol:
    return scored_pairs(
        dict(
            type='FacePairs',
            ann_file=data,
            data_prefix=dict(img_path=args.image_root)), data)


def scored_pairs(dataset: dict, data: str) -> Protocol:
    listed = DATASETS.build(dict(dataset, pipeline=[])).metainfo['pairs']

    def score(x):
        result = Verification(x, *listed, folds=10)
        name = osp.splitext(osp.basename(data))[0]
        return {name: (result, None)}, result.summary(FARS)

    return dataset, None, score


def folder(data: str, args) -> Protocol:
    dataset = dict(type='mmpretrain.CustomDataset', data_prefix=data)
    listed = DATASETS.build(dict(dataset, pipeline=[]))
    labels = np.array(
        [listed.get_data_info(i)['gt_label'] for i in range(len(listed))])
    pairs = all_pairs(labels)

    def score(x):
        verification = Verification(x, *pairs)
        closed = identify(x, labels, args.gallery)
        figures = {
            **verification.summary(FARS),
            **closed.summary((1, 5), ())
        }
        if labels.max() > 0:
            opened = identify(x, labels, args.gallery, open_set=True)
            figures.update((k, v)
                           for k, v in opened.summary((1, ), FARS[:2]).items()
                           if 'TPIR' in k)
        return {osp.basename(osp.abspath(data)): (verification, closed)
                }, figures

    return dataset, None, score


def ijb(data: str, args) -> Protocol:
    protocol = IJB.read(data, args.protocol)

    def score(x):
        if args.quality_weights:
            x = x * torch.as_tensor(protocol.scores[:, None]).to(x)
        else:
            x = normalize_embeddings(x, allow_failures=True)
        parts = protocol.score(x)
        return {args.protocol: parts}, protocol.summary(*parts)

    images = [
        dict(img_path=file, landmarks=points)
        for file, points in zip(protocol.images, protocol.landmarks)
    ]
    return dict(type='ListedImages', images=images), 'AlignFace', score


def ijba(data: str, args) -> Protocol:
    protocol = IJBA.read(data)

    def score(x):
        if not args.quality_weights:
            x = normalize_embeddings(x, allow_failures=True)
        splits = protocol.score(x)
        return {
            f'split {k}': parts
            for k, parts in enumerate(splits, 1)
        }, protocol.summary(splits)

    images = [
        dict(img_path=osp.join(args.image_root, file), box=box)
        for file, *box in protocol.faces
    ]
    return dict(type='ListedImages', images=images), 'CropFace', score


PROTOCOLS: Dict[str, Callable] = dict(
    bin=bins, pairs=pairs, folder=folder, ijba=ijba, ijbb=ijb, ijbc=ijb)


def show(figures: Dict[str, dict], title: str) -> None:
    """Print a row a figure, a column a set."""
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
    Console().print(table)


if __name__ == '__main__':
    main()
