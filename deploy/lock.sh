#!/usr/bin/env bash
# Resolves the requirements for Linux and Python 3.11: lock.sh IN OUT. torch is left out: it is installed by itself.
set -euo pipefail
command -v uv >/dev/null || { echo "uv is not on the PATH; 'pip install uv' in an environment of its own" >&2; exit 6; }
uv pip compile "$1" --quiet --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
  --generate-hashes --no-emit-package torch --no-emit-index-url --no-emit-find-links --no-header \
  --custom-compile-command "make lock" ${GROUNDSWELL_LOCK_ARGS:-} --output-file "$2"
if grep -qiE '^(nvidia-|cuda-|triton|torch==|torchvision)' "$2"; then
  echo "the lock contains torch or CUDA packages; give uv a CPU build of torch by GROUNDSWELL_LOCK_ARGS='--find-links DIR'" >&2
  exit 1
fi
