# Copyright (c) sskd_mm authors. All rights reserved.
"""Everything is declared in setup.cfg but what lies outside the package.

MIM and MMEngine look for a package's configs and tools in its ``.mim``.
"""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MIM = ('configs', 'studies', 'tools', 'dataset-index.yml', 'model-index.yml')


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns('__pycache__'))
    else:
        shutil.copy(source, target)


class BuildPy(build_py):
    """Fills ``.mim``: with copies in a wheel, with links in an editable
    install, where what is edited has to be what is found."""

    def run(self) -> None:
        super().run()
        root = Path(__file__).resolve().parent
        package = root if self.editable_mode else Path(self.build_lib)
        mim = package / 'sskd_mm/.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in MIM:
            if self.editable_mode:
                try:
                    (mim / name).symlink_to(Path('../..', name))
                    continue
                except OSError:  # Windows may not allow it.
                    pass
            copy(root / name, mim / name)


setup(cmdclass=dict(build_py=BuildPy))
