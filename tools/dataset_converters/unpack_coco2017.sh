#!/usr/bin/env bash
# Copyright (c) sskd_mm authors. All rights reserved.
# Unpacks what the configs need of OpenDataLab's COCO 2017, and removes the
# archives: unpack_coco2017.sh DOWNLOAD_FOLDER DATA_ROOT. Called by
# `mim download sskd_mm --dataset coco2017`.
set -euo pipefail
raw=$1/OpenDataLab___COCO_2017/raw
for archive in Images/train2017 Images/val2017 \
    Annotations/annotations_trainval2017; do
    unzip -q "$raw/$archive.zip" -d "$2"
done
rm -r "$1/OpenDataLab___COCO_2017"
