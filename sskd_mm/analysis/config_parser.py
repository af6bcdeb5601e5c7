# Copyright (c) sskd_mm authors. All rights reserved.
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from mmengine.config import Config, DictAction

from ..compat import add_pickle_option, apply_pickle_option


class ConfigParser(ArgumentParser):
    """The command line of a tool that looks at a config.

    It takes ``config``, first of all, ``--cfg-options``, as tools of OpenMMLab
    do, and ``--allow-pickle``.

    Args:
        description (str): What the tool does, as it is to be shown.
        config (str): What the config has to be of.

    Example:
        >>> parser = ConfigParser(__doc__, 'of a distillation')
        >>> parser.add_argument('checkpoint', help='of the student')
        >>> args = parser.parse_args()
        >>> cfg = parser.read_config(args)
    """

    def __init__(self, description: str, config: str) -> None:
        super().__init__(
            description=description,
            formatter_class=RawDescriptionHelpFormatter)
        self.add_argument('config', help=config)
        self.add_argument(
            '--cfg-options',
            nargs='+',
            action=DictAction,
            help='override settings of the config: key=value, nested keys '
            'with dots, lists as key="[a,b]"')
        add_pickle_option(self)

    @staticmethod
    def read_config(args) -> Config:
        """Read the config, with what the command line overrides.

        Args:
            args (Namespace): What :meth:`parse_args` has returned.
        """
        cfg = Config.fromfile(args.config)
        if args.cfg_options is not None:
            cfg.merge_from_dict(args.cfg_options)
        apply_pickle_option(args, cfg)
        return cfg
