# Copyright (c) sskd_mm authors. All rights reserved.
"""Time and memory, side by side with a rival in the same run.

python benchmarks/run.py [--only NAME ...] [--work-dir DIR]

Each benchmark runs in its own process. Its tables are printed in Markdown and,
with machine and versions, written to DIR/NAME.json and DIR/NAME.md. Nothing
else should run on the machine.
"""
import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

#: Modules of the folder speed/ in running order; their ``run`` returns a list
#: of tables.
BENCHMARKS = [
    path.stem
    for path in sorted(Path(__file__).with_name('speed').glob('*.py'))
]
PACKAGES = ('torch', 'torchvision', 'mmengine', 'onedl-mmengine', 'mmcv',
            'mmcv-lite', 'onedl-mmcv', 'mmdet', 'onedl-mmdetection',
            'mmpretrain', 'onedl-mmpretrain', 'torchdistill', 'pycocotools',
            'faster-coco-eval')


def processor() -> str:
    """Get the processor's name."""
    info = Path('/proc/cpuinfo')
    names = [
        line.split(':')[1].strip() for line in info.read_text().splitlines()
        if line.startswith('model name')
    ] if info.exists() else []
    return names[0] if names else platform.processor()


def machine() -> dict:
    """Describe the machine and the versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            pass
    return dict(
        processor=processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else
        None,
        python=platform.python_version(),
        versions=versions)


def run(name: str, work_dir: Path) -> None:
    """Run one benchmark in this process."""
    tables = importlib.import_module(f'speed.{name}').run()
    where = machine()
    line = (f'Machine: {where["processor"]}, {where["cores"]} cores, '
            f'{where["threads"]} threads, {where["gpu"] or "no GPU"}; '
            f'Python {where["python"]}, ' + ', '.join(
                f'{package} {v}' for package, v in where['versions'].items()))
    text = '\n\n'.join([f'## {name}', *map(str, tables), line])
    print(text, flush=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / f'{name}.md').write_text(text + '\n')
    (work_dir / f'{name}.json').write_text(
        json.dumps(
            dict(
                name=name, machine=where,
                tables=[asdict(table) for table in tables]),
            indent=2))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--only', nargs='+', choices=BENCHMARKS, default=BENCHMARKS)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/benchmarks'))
    args = parser.parse_args()
    if len(args.only) == 1:
        run(args.only[0], args.work_dir)
        return
    failed = [
        name for name in args.only if subprocess.run([
            sys.executable, __file__, '--only', name, '--work-dir',
            args.work_dir
        ]).returncode
    ]
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}.')


if __name__ == '__main__':
    main()
