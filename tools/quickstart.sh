#!/usr/bin/env bash
# Copyright (c) sskd_mm authors. All rights reserved.
# From a fresh machine to a distilled detector: makes an environment,
# installs, and runs quickstart.py. Run it again and it goes on where it was
# stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/setup_env.sh
exec "$PYTHON" tools/quickstart.py "$@"
