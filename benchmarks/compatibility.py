# Copyright (c) sskd_mm authors. All rights reserved.
"""Run part of the tests with other versions and record the results in
docs/get_started.md.

python benchmarks/compatibility.py PYTHON [PYTHON ...]

Each PYTHON is the interpreter of an environment with torch, one OpenMMLab
stack and the extra `dev`. A row of the table is a set of versions; rows of
other versions are kept.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
#: The most version-dependent parts: operators, checkpoints, and the training
#: loop of a detector with all its assertions.
TESTS = ('tests/test_compat',
         'tests/test_engine/test_stage_by_stage_train_loop.py')
START, END = '<!-- compatibility -->\n', '<!-- end of compatibility -->\n'
HEAD = ('| Python | torch | torchvision | OpenMMLab | passed | failed |\n'
        '| --- | --- | --- | --- | --- | --- |\n')
VERSIONS = '''
import json, platform
from importlib.metadata import version
from sskd_mm.compat import installed_distributions
print(json.dumps([platform.python_version(), version('torch'),
                  version('torchvision'),
                  ', '.join(installed_distributions().values())]))
'''


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pythons', nargs='+', metavar='PYTHON')
    return parser.parse_args()


def try_out(python: str) -> list:
    """Run the tests; return a row, versions first."""
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    versions = subprocess.run([python, '-c', VERSIONS],
                              env=env,
                              check=True,
                              stdout=subprocess.PIPE)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'tests.xml')
        command = (python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
                   f'--junitxml={file}', *TESTS)
        subprocess.run(command, cwd=ROOT, env=env)
        suite = ElementTree.parse(file).getroot().find('testsuite').attrib
    total, failed, errors, skipped = (
        int(suite[key]) for key in ('tests', 'failures', 'errors', 'skipped'))
    failed += errors
    return [
        *json.loads(versions.stdout.splitlines()[-1]),
        str(total - failed - skipped),
        str(failed)
    ]


def write(row: list, file: Path) -> None:
    """Insert a row into the table, or replace that of the same versions."""
    before, _, rest = file.read_text().partition(START)
    table, _, after = rest.partition(END)
    rows = {}
    for line in table.replace(HEAD, '').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        rows[tuple(cells[:4])] = cells
    rows[tuple(row[:4])] = row
    lines = (f'| {" | ".join(cells)} |\n' for _, cells in sorted(rows.items()))
    file.write_text(f'{before}{START}{HEAD}{"".join(lines)}{END}{after}')


def main():
    for python in parse_args().pythons:
        write(try_out(python), ROOT / 'docs/get_started.md')


if __name__ == '__main__':
    main()
