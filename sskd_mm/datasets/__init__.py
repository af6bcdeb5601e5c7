# Copyright (c) sskd_mm authors. All rights reserved.
from .check_data_files import check_data_files
from .check_num_classes import check_num_classes, head_classes, misfit_heads
from .cifar_in_memory import CIFARInMemory
from .cifar_pickle import CIFARFileError, read_cifar_pickle
from .digits_detection import make_digits_detection
from .face_records import FaceRecords
from .record_file import Record, RecordFile, RecordFileError
from .seeded_dataset import SeededDataset
from .transforms import AlignFace

__all__ = [
    'AlignFace', 'CIFARFileError', 'CIFARInMemory', 'FaceRecords', 'Record',
    'RecordFile', 'RecordFileError', 'SeededDataset', 'check_data_files',
    'check_num_classes', 'head_classes', 'make_digits_detection',
    'misfit_heads', 'read_cifar_pickle'
]
