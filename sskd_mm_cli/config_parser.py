# Copyright (c) sskd_mm authors. All rights reserved.
from .options import add_cfg_options, add_pickle_option
from .tool_parser import ToolParser


class ConfigParser(ToolParser):
    """The argument parser of a tool that reads a config.

    The first argument is ``config``; as in OpenMMLab's tools there is
    ``--cfg-options``, and also ``--allow-pickle``.

    Args:
        description (str): What the tool does, shown verbatim.
        config (str): The kind of config, for the help text.

    Example:
        >>> parser = ConfigParser(__doc__, 'of a distillation')
        >>> parser.add_argument('checkpoint', help='of the student')
        >>> args = parser.parse_args()
        >>> cfg = parser.read_config(args)
    """

    def __init__(self, description: str, config: str) -> None:
        super().__init__(description)
        self.add_argument('config', help=config)
        add_cfg_options(self)
        add_pickle_option(self)

    @staticmethod
    def read_config(args):
        """Read the config and apply the command line's overrides.

        Args:
            args (Namespace): The parsed arguments.

        Returns:
            Config: The config.
        """
        from mmengine.config import Config

        from sskd_mm.compat import apply_pickle_option
        cfg = Config.fromfile(args.config)
        if args.cfg_options is not None:
            cfg.merge_from_dict(args.cfg_options)
        apply_pickle_option(args, cfg)
        return cfg
