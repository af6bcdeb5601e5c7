# Copyright (c) sskd_mm authors. All rights reserved.
from .check_data_files import check_data_files
from .digits_detection import make_digits_detection
from .seeded_dataset import SeededDataset

__all__ = ['SeededDataset', 'check_data_files', 'make_digits_detection']
