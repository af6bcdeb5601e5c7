# Copyright (c) sskd_mm authors. All rights reserved.
from .build_dataset import build_dataset
from .check_annotations import check_annotations
from .check_data_files import check_data_files
from .check_labels import check_labels
from .check_masks import check_masks
from .check_num_classes import check_num_classes, head_classes, misfit_heads
from .check_run_files import check_run_files
from .check_sample_idx import check_sample_idx
from .check_val_classes import check_val_classes, reads_classes
from .check_val_images import check_val_images
from .cifar_in_memory import CIFARInMemory
from .cifar_pickle import CIFARFileError, read_cifar_pickle
from .crop_face import CropFace
from .digits_detection import make_digits_detection
from .draw import Draw, mark_repeats
from .face_bin import FaceBin
from .face_pairs import FacePairs
from .face_records import FaceRecords
from .innermost import innermost_configs
from .listed_images import ListedImages
from .multi_labels import read_multi_labels
from .paired_faces import PairedFaces, Pairs
from .plain_pickle import PlainPickleError, load_plain_pickle
from .read_face_bin import FaceBinError, read_face_bin
from .record_file import Record, RecordFile, RecordFileError
from .seeded_dataset import SeededDataset
from .transforms import AlignFace

__all__ = [
    'AlignFace', 'CIFARFileError', 'CIFARInMemory', 'CropFace', 'Draw',
    'FaceBin', 'FaceBinError', 'FacePairs', 'FaceRecords', 'ListedImages',
    'PairedFaces', 'Pairs', 'PlainPickleError', 'Record', 'RecordFile',
    'RecordFileError', 'SeededDataset', 'build_dataset',
    'check_annotations', 'check_data_files', 'check_labels', 'check_masks',
    'check_num_classes', 'check_run_files', 'check_sample_idx',
    'check_val_classes', 'check_val_images', 'head_classes',
    'innermost_configs', 'load_plain_pickle', 'make_digits_detection',
    'mark_repeats', 'misfit_heads', 'read_cifar_pickle', 'read_face_bin',
    'read_multi_labels', 'reads_classes'
]
