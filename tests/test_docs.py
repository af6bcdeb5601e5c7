# Copyright (c) sskd_mm authors. All rights reserved.
"""Every code block of README.md and docs/ is run, as its reader would.

The blocks of a page run in order, in one folder, in this process. What its
pages call ``my_student.py``, ``my_teacher.pth`` and so on lies in
``tests/docs_project``; they are small, and trained here.

- A ```python block whose first line is ``# some_name.py`` is written to that
  file. A config among them is built; one of a distillation is planned, as a
  dry run does. Any other is imported.
- A ```python block of nothing but settings is laid over the distillation that
  the page wrote last (at first: the README's), which is planned again.
- Any other ```python block is executed.
- A ```yaml block whose first line is ``# some_name.yaml`` is a study: it is
  read, and the configs of its first seed are built.
- Each line of a ```bash block is a command. Tools run, unless they get a
  config that is shipped: its data or its hours are not here, so the tool
  reads its command line, and the network is built from what it asked for
  (all shipped configs have tests of their own). ``NOT_RUN`` has all the
  others, with the reason. A training that an earlier page has done is not
  done again.
- ```text and ```json are what something prints.

A block of any other kind fails, so none is added that is not tested; so do
the directives of Sphinx, which a forge shows as they are written. In
``docs/zh_cn`` a page has the same code as the page it is translated from, but
for comments.
"""
import argparse
import ast
import functools
import importlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tokenize
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import quote, unquote

import mmengine.registry
import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils import ManagerMixin, get_installed_path
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from sskd_mm.analysis import Study, dry_runner
from sskd_mm.datasets import check_data_files, make_digits_detection
from sskd_mm.distillers import lay_method_over
from sskd_mm.models import build_model
from sskd_mm_cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
DATA = os.environ.get('SSKD_TEST_DATA')
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
MARKDOWN = MarkdownIt('commonmark').enable('table')

#: Commands that are not run: how they begin, and why. Their files have to be
#: there, and what a tool of ours gets is read by that tool.
NOT_RUN = {
    'pip install': 'changes the environment; its extras are looked up',
    'pip uninstall': 'changes the environment',
    'git clone': 'needs a network',
    'cd ': 'where a clone lies is the reader\'s choice',
    'bash tools/quickstart.sh': 'takes minutes; has tests of its own',
    'bash tools/run_tests.sh': 'runs this very test',
    'bash tools/dist_train.sh': 'several processes; has tests of its own',
    'bash tools/slurm_train.sh': 'needs a cluster',
    'python benchmarks/': 'takes hours',
    'python docs/': 'writes into the repository',
    'python tools/study.py': 'takes hours',
    'python tools/dataset_converters/make_digits.py':
    'draws 1,200 images; has tests of its own',
    'python tools/model_converters/': 'needs weights that are downloaded',
    'python -m pytest': 'runs the other tests',
    'sphinx-build': 'has a test below',
}


class Parsed(BaseException):
    """What a tool has read from its command line, in place of its work."""


def blocks(page):
    """The code blocks of a page."""
    return [
        token for token in MARKDOWN.parse(page.read_text())
        if token.type in ('fence', 'code_block')
    ]


def commands(text):
    """The lines of a ```bash block, as words."""
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        while words and re.match(r'[A-Z_]+=', words[0]):
            words.pop(0)  # a setting of the environment
        if words:
            yield words


def registries():
    """All registries, those of mmdet and mmpretrain included."""
    found = [
        x for x in vars(mmengine.registry).values() if isinstance(x, Registry)
    ]
    for registry in found:
        found += registry.children.values()
    return found


def plan(cfg):
    """A dry run without its tables, which take half of its time."""
    with dry_runner(cfg) as runner:
        return runner.train_loop


def subclasses(cls):
    """All classes that are derived from this one."""
    for each in cls.__subclasses__():
        yield each
        yield from subclasses(each)


@functools.lru_cache(maxsize=None)
def build_shipped(config, method, options):
    """Build the network of a config that is shipped, once."""
    cfg = Config.fromfile(config)
    if method:
        lay_method_over(cfg, method)
    cfg.merge_from_dict(ast.literal_eval(options))
    build_model(cfg)


@pytest.fixture(scope='session')
def project(tmp_path_factory, cifar, digit_images):
    """The folder that each page has a copy of: configs, data, teachers."""
    folder = tmp_path_factory.mktemp('docs_project')
    shutil.copytree(ROOT / 'tests/docs_project', folder, dirs_exist_ok=True)
    for name in ('configs', 'studies'):
        # Folders of our own, for pages that write into them.
        (folder / name).mkdir()
        for path in (ROOT / name).iterdir():
            (folder / name / path.name).symlink_to(path)
    for name in ('tools', 'benchmarks', 'tests', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    # Without their bases, since to look up mmdet:: takes as long as to build a
    # small network, and pages read them again and again.
    for cfg in [Config.fromfile(path) for path in folder.glob('my_*.py')]:
        cfg.dump(cfg.filename)
    (folder / 'my_distillation.py').write_text(
        next(
            b.content for b in blocks(ROOT / 'README.md')
            if b.content.startswith('# my_distillation.py')))
    data = folder / 'data'
    make_digits_detection(data / 'mine', num_train=8, num_val=4, image_size=64)
    (data / 'my_images').symlink_to(digit_images / 'train')
    for name in ('cifar10', 'cifar100'):
        (data / name).symlink_to(cifar)
    if DATA:
        (data / 'bccd').symlink_to(Path(DATA, 'bccd'))
        (data / 'coco').symlink_to(Path(DATA, 'tiny_coco'))
        # One of the tools writes into this one.
        for name in ('orl_faces', 'my_faces'):
            (data / name).mkdir()
            for path in Path(DATA, 'orl_faces').iterdir():
                (data / name / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Faces would take longer to learn than anybody waits.
        cfg = Config.fromfile('configs/baselines/face/iresnet18_orl.py')
        cfg.model.head.num_classes = 22
        model = build_model(cfg)
        torch.save(dict(state_dict=model.state_dict()), 'my_iresnet18.pth')
        for name, weights in (('my_teacher', 'my_teacher.pth'),
                              ('my_large_classifier',
                               'my_large_classifier.pth')):
            cfg = Config.fromfile(f'{name}.py')
            cfg.work_dir = f'{folder}/{name}'
            # Nobody reads how it got there.
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
            cfg.randomness = dict(seed=0)
            Runner.from_cfg(cfg).train()
            last = Path(cfg.work_dir, 'last_checkpoint').read_text()
            shutil.move(last, folder / weights)
            shutil.rmtree(cfg.work_dir)
    return folder


@pytest.fixture(scope='session')
def trainings(tmp_path_factory):
    """What was trained for an earlier page need not be trained anew: config
    and command of a training, and where a copy of its results is."""
    return Trainings(tmp_path_factory.mktemp('trainings'))


class Trainings(dict):
    """Results of trainings, by config and command.

    Args:
        folder (Path): Where they are kept.
    """

    def __init__(self, folder):
        self.folder = folder

    def keep(self, key, work_dir):
        """Keep a copy of a work directory, if there is one."""
        self[key] = self.folder / str(len(self))
        if work_dir.exists():
            shutil.copytree(work_dir, self[key])


class Reader:
    """Does what a page says, in a folder.

    Args:
        folder (Path): Where the reader has their own files, the distillation
            that the README shows among them.
        trainings (Trainings): What was trained before.
    """

    def __init__(self, folder, trainings):
        self.folder = folder
        self.trainings = trainings
        self.distillation = Config.fromfile('my_distillation.py')
        self.names = dict(__name__='page')
        self.left_out = []

    def run(self, kind, text):
        """Run one block."""
        if kind == 'bash':
            for words in commands(text):
                missing = self.missing_data(' '.join(
                    [*words, *self.read_configs(words)]))
                if missing:
                    self.left_out.append(missing)
                else:
                    self.command(words)
        elif kind in ('python', 'yaml'):
            name = re.match(r'# ([\w/]+\.(?:py|yaml))\n', text)
            if name:
                self.write(name[1], text)
            elif kind == 'python':
                self.python(text)
            else:
                raise ValueError('begin it with a comment that has the name '
                                 'of its file: # my_study.yaml')
        elif kind not in ('text', 'json'):
            raise ValueError(
                f'no rule for blocks of {kind or "no language"!r}: those of '
                'python, yaml and bash are run; text and json are output')

    def read_configs(self, words):
        """The text of each config of the page that a command is about."""
        for word in words:
            path = self.folder / word
            if word.startswith('my_') and path.suffix == '.py' and (
                    path.is_file()):
                yield path.read_text()

    def missing_data(self, text):
        """A data set that a block is about and that is not here."""
        for name in re.findall(r'data/(\w+)', text):
            if not DATA and name in ('orl_faces', 'my_faces', 'bccd', 'coco'):
                return f'data/{name}'
        return None

    # --- Files ------------------------------------------------------------

    def write(self, name, text):
        """Write a file that a page shows, and see that it is good."""
        path = self.folder / name
        if path.exists() and path.resolve().is_relative_to(ROOT):
            raise FileExistsError(f'{name} is shipped: take another name')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith('.yaml'):
            study = Study.from_file(name)
            for trial in study.trials():
                if trial.seed == study.seeds[0]:
                    build_model(study.config(trial, 'teacher.pth'))
        elif self.is_config(text):
            self.config(Config.fromfile(name))
        else:
            importlib.import_module(name[:-3].replace('/', '.'))

    @staticmethod
    def is_config(text):
        """Whether a file is a config: it sets one of its keys."""
        names = {
            target.id
            for node in ast.parse(text).body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name)
        }
        return bool(names & {'_base_', 'model'})

    def config(self, cfg):
        """Build what a config says."""
        missing = self.missing_data(cfg.pretty_text)
        if missing:
            self.left_out.append(missing)
        elif cfg.get('train_cfg', {}).get('type') == 'StageByStageTrainLoop':
            self.distillation = cfg
            check_data_files(cfg)
            plan(cfg)
        else:
            build_model(cfg)

    def python(self, text):
        """Settings are laid over the distillation, code is executed."""
        if all(isinstance(node, ast.Assign) for node in ast.parse(text).body):
            settings = {}
            exec(text, settings)
            del settings['__builtins__']
            cfg = Config(
                self.distillation.to_dict(),
                filename=self.distillation.filename)
            cfg.merge_from_dict(settings)
            plan(cfg)
        else:
            exec(compile(text, 'page', 'exec'), self.names)

    # --- Commands ---------------------------------------------------------

    def command(self, words):
        """Run a command, or see that it could be run."""
        if words[0] == 'sskd':
            script, *first = COMMANDS[words[1]][0].split()
            words = ['python', f'tools/{script}', *first, *words[2:]]
        line = ' '.join(words)
        reason = next((r for c, r in NOT_RUN.items() if line.startswith(c)),
                      None)
        if words[:2] == ['pip', 'install']:
            self.look_up_extras(line)
        elif words[:2] in (['bash', 'tools/dist_train.sh'],
                           ['bash', 'tools/slurm_train.sh']):
            assert Path(words[1]).is_file(), words[1]
            # What stands before the config, or behind it, is the script's.
            at = next(i for i, w in enumerate(words) if w.endswith('.py'))
            rest = words[at + 1 + ('dist' in words[1]):]
            self.parse('tools/train.py', [words[at], *rest])
        elif words[:2] == ['python', 'tools/study.py']:
            Study.from_file(self.parse(words[1], words[2:]).study)
        elif reason is not None:
            for word in words[1:]:
                if re.match('(tools|benchmarks|tests|docs/images)/', word):
                    assert Path(word).exists(), f'there is no {word}'
            if line.startswith(('python tools/', 'python benchmarks/')):
                self.parse(words[1], words[2:])
        elif words[0] == 'python' and words[1] == '-m':
            words = [
                word.replace('PATH/TO/mmdet', f'{get_installed_path("mmdet")}'
                             '/.mim') for word in words
            ]
            self.start(runpy.run_module, words[2], words[3:], alter_sys=True)
        elif words[0] == 'python' and words[1].startswith('tools/'):
            if any(word.startswith('configs/') for word in words[2:]):
                self.parse(words[1], words[2:])
            elif words[1] == 'tools/train.py':
                self.train(words)
            else:
                self.start(runpy.run_path, words[1], words[2:])
        else:
            raise ValueError(
                f'no rule for {line!r}: run it here, or write into NOT_RUN '
                'why it cannot be')

    def train(self, words):
        """Train, or take what the same command did for an earlier page."""
        args = self.parse(words[1], words[2:])
        work_dir = Path(args.work_dir or f'work_dirs/{Path(args.config).stem}')
        text = Config.fromfile(args.config).pretty_text
        key = text.replace(str(self.folder), ''), *words
        goes_on = work_dir.exists() and not args.dry_run
        if goes_on or key not in self.trainings:
            self.start(runpy.run_path, words[1], words[2:])
            if not goes_on:
                self.trainings.keep(key, work_dir)
        elif not args.dry_run:
            shutil.copytree(self.trainings[key], work_dir)

    @staticmethod
    def look_up_extras(line):
        setup = ConfigParser()
        setup.read(ROOT / 'setup.cfg')
        for extras in re.findall(r'\[([\w,]+)\]', line):
            for extra in extras.split(','):
                assert extra in setup['options.extras_require'], extra

    def parse(self, script, arguments):
        """Let a tool read its command line, and build its config."""
        real = argparse.ArgumentParser.parse_args

        def parse_args(parser, *args, **kwargs):
            raise Parsed(real(parser, *args, **kwargs))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
            with pytest.raises(Parsed) as parsed:
                self.start(runpy.run_path, script, arguments)
        args, = parsed.value.args
        config = getattr(args, 'config', None)
        if config and config.startswith('configs/'):
            build_shipped(
                os.path.abspath(config), getattr(args, 'method', None),
                repr(dict(getattr(args, 'cfg_options', None) or {})))
        return args

    def start(self, run, target, arguments, **options):
        """Run a script or module as a process of its own would."""
        self.forget()
        for cls in subclasses(ManagerMixin):
            cls._instance_dict.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, 'argv', [target, *arguments])
            if run is runpy.run_path:
                patch.syspath_prepend(Path(target).resolve().parent)
            try:
                run(target, run_name='__main__', **options)
            except SystemExit as end:
                # The doctor ends with 1 where this machine has a problem.
                if end.code and not ('doctor' in target and end.code == 1):
                    raise AssertionError(
                        f'{target} ended with status {end.code}') from end

    def forget(self, executed=False):
        """Forget modules of the folder, which a new process would not know
        of, and what they have registered."""
        names = {
            name
            for name, module in sys.modules.items()
            if (getattr(module, '__file__', None) or ''
                ).startswith(str(self.folder))
        }
        gone = names | {'page'} if executed else names
        for registry in registries():
            for key, thing in list(registry.module_dict.items()):
                if getattr(thing, '__module__', None) in gone:
                    del registry._module_dict[key]
        for name in names:
            del sys.modules[name]


@pytest.fixture
def reader(project, trainings, tmp_path, monkeypatch):
    """Somebody who has the files of ``project`` in a folder of their own."""
    folder = tmp_path / 'project'
    shutil.copytree(project, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv('LOCAL_RANK', '0')
    reader = Reader(folder, trainings)
    yield reader
    reader.forget(executed=True)


def _name(page):
    return str(page.relative_to(ROOT))


def without_comments(text, kind):
    """The code of a block alone."""
    if kind == 'python':
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return [
            t.string for t in tokens
            if t.type not in (tokenize.COMMENT, tokenize.NL)
        ]
    if kind == 'yaml':
        return yaml.safe_load(text)
    return list(commands(text))


@pytest.mark.parametrize(
    'page', [p for p in PAGES if 'zh_cn' not in p.parts], ids=_name)
def test_code_blocks(page, reader, capsys):
    for block in blocks(page):
        line = f'{_name(page)}, line {block.map[0] + 1}'
        try:
            reader.run(block.info, block.content)
        except Exception as error:
            raise AssertionError(
                f'{line}: {type(error).__name__}: {error}') from error
    if reader.left_out:
        pytest.skip('SSKD_TEST_DATA is not set, so left out is what needs ' +
                    ', '.join(sorted(set(reader.left_out))))


@pytest.mark.parametrize(
    'page', [p for p in PAGES if 'zh_cn' in p.parts], ids=_name)
def test_translations_have_the_same_code(page):
    original = ROOT / 'docs' / page.relative_to(ROOT / 'docs/zh_cn')
    mine, theirs = ([(b.info, without_comments(b.content, b.info))
                     for b in blocks(p)
                     if b.info in ('python', 'bash', 'yaml')]
                    for p in (page, original))
    assert mine == theirs


def anchors(page):
    """What can be linked to in a page: its headings, as GitHub names them."""
    tokens = MARKDOWN.parse(page.read_text())
    names = set()
    for opening, heading in zip(tokens, tokens[1:]):
        if opening.type == 'heading_open':
            text = ''.join(part.content for part in heading.children)
            name = re.sub(r'[^\w\- ]', '', text.lower())
            names.add(name.replace(' ', '-'))
    return names


def test_links():
    broken = []
    for page in PAGES:
        tokens = [
            c for t in MARKDOWN.parse(page.read_text())
            for c in t.children or ()
        ]
        targets = [
            t.attrs.get('href') or t.attrs.get('src') for t in tokens
            if t.type in ('link_open', 'image')
        ]
        for target in targets:
            if re.match(r'(https?|mailto):', target):
                continue
            path, _, anchor = unquote(target).partition('#')
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (file.suffix == '.md' and anchor
                                     and anchor not in anchors(file)):
                broken.append(f'{_name(page)}: {target}')
    assert not broken


def test_the_reference_has_everything():
    """What a package makes public is in one of docs/api."""
    for page in (ROOT / 'docs/api').glob('*.rst'):
        text = page.read_text()
        module = re.search('currentmodule:: (.+)', text)
        if module:
            package = importlib.import_module(module[1])
            names = re.findall(r'^   (\w+)$', text, re.MULTILINE)
            public = [
                name for name in package.__all__
                if callable(getattr(package, name))
            ]
            assert sorted(names) == sorted(public), page.name


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The Chinese pages beside three of the English ones, and the warnings
    of both builds."""
    folder = tmp_path_factory.mktemp('site')
    docs, out = folder / 'docs', folder / 'out'
    shutil.copytree(
        ROOT / 'docs',
        docs,
        ignore=shutil.ignore_patterns('_build', 'generated'))
    for path in ROOT.iterdir():
        # Pages link to files around them.
        if path != ROOT / 'docs':
            (folder / path.name).symlink_to(path)
    warnings = io.StringIO()

    def build(source, target, builder, warning=warnings, **settings):
        with docutils_namespace():
            Sphinx(
                source,
                source,
                target,
                folder / f'trees_{target.name}',
                builder,
                settings,
                status=None,
                warning=warning).build()

    build(docs, folder / 'dummy', 'dummy')
    build(docs / 'zh_cn', out / 'zh_cn', 'html')
    # Only for the links to translations: the others are missed.
    pages = ['index.md', 'matrix.md', 'method.md']
    build(docs, out, 'html', warning=None, include_patterns=pages)
    return out, warnings.getvalue()


def test_sphinx_builds_without_warnings(site):
    assert not site[1]


@pytest.mark.parametrize('page, translation', [
    ('index', 'zh_cn/index'),
    ('method', 'zh_cn/method'),
    ('matrix', 'zh_cn/index'),
    ('zh_cn/method', 'method'),
])
def test_pages_link_to_their_translation(site, page, translation):
    file = site[0] / f'{page}.html'
    link = re.search(r'class="[^"]*language" href="([^"]+)"', file.read_text())
    assert (file.parent / link[1]).resolve() == site[0] / f'{translation}.html'


def test_chinese_pages_link_to_english_ones(site):
    """Where a page is not translated, out of the folder of the Chinese."""
    text = (site[0] / 'zh_cn/user_guides/faces.html').read_text()
    assert 'href="../../benchmarks.html#faces-on-orl"' in text


def test_what_the_chinese_search_loads(site):
    """The script has the stemmer that it names, and the index has Chinese."""
    script = (site[0] / 'zh_cn/_static/language_data.js').read_text()
    stemmer = re.search(r'window\.Stemmer = (\w+)', script)[1]
    assert f'var {stemmer}=' in script
    index = (site[0] / 'zh_cn/searchindex.js').read_text()
    terms = json.loads(re.fullmatch(r'Search\.setIndex\((.*)\)', index)[1])
    assert {'损失', '失权', '权重', '颈'} <= set(terms['terms'])


@pytest.mark.parametrize('query, found', [
    ('损失权重', 'index.html'),
    ('教师模型的检查点', 'get_started.html'),
    ('蒸馏 sequential', 'user_guides/schedules.html'),
    ('颈', 'method.html'),
])
def test_chinese_search(site, browser, tmp_path, query, found):
    page = (site[0] / 'zh_cn/search.html').as_uri() + f'?q={quote(query)}'
    done = subprocess.run([
        *browser, f'--user-data-dir={tmp_path}', '--virtual-time-budget=5000',
        '--dump-dom', page
    ],
                          check=True,
                          capture_output=True,
                          text=True,
                          timeout=120)
    results = re.search('<ul[^>]*class="search".*?</ul>', done.stdout, re.S)
    assert f'"{found}"' in results[0]
