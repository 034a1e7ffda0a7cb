#!/usr/bin/env bash
# Makes the environment: setup.sh PYTHON VENV STAMP. Two steps: torch, then everything else from the lock.
set -euo pipefail
python=$1 venv=$2 stamp=$3
torch_version=2.13.0

if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
  echo "groundswell needs Python 3.11, 3.12 or 3.13 as '$python'." >&2
  echo "  Debian: sudo apt-get install python3 python3-venv; or: make setup PYTHON=/path/to/python3.11" >&2
  exit 6
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "'$python' has no venv module. On Debian or Ubuntu:" >&2
  echo "  sudo apt-get install python3-venv" >&2
  exit 6
fi

if [ ! -x "$venv/bin/python" ]; then
  echo "[1/4] making $venv"
  "$python" -m venv "$venv"
else
  echo "[1/4] $venv exists"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

if "$venv/bin/python" -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$torch_version')" 2>/dev/null; then
  echo "[2/4] torch $torch_version is installed"
else
  echo "[2/4] installing torch $torch_version (the index decides the build; the README says how to choose one)"
  pip install --quiet "torch==$torch_version"
fi
echo "[3/4] installing the locked requirements (about two minutes)"
pip install --quiet --no-deps --require-hashes -r requirements.lock
echo "[4/4] installing groundswell itself, editable"
pip install --quiet --no-deps --no-build-isolation --editable .
rm -f "$venv"/.ready-*
touch "$stamp"
echo "ready: $venv"
