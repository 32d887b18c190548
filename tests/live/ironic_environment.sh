#!/usr/bin/env bash
# Makes the environment of the real Ironic that live tests talk to, once: about 120 packages, 320 MB,
# from PyPI by digest. Says where it is. Called by `make test`: ironic_environment.sh PYTHON [UV]
set -euo pipefail

python=$1 uv=${2:-}
wanted=$(dirname "${BASH_SOURCE[0]}")/ironic-requirements.txt
version=$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
digest=$(sha256sum "$wanted" | cut -c1-12)
home=${XDG_CACHE_HOME:-$HOME/.cache}/metalwright/ironic-$digest-$version

if [ ! -e "$home/.complete" ]; then
  mkdir -p "$home"
  exec 9>"$home/.lock"
  flock 9
fi
if [ ! -e "$home/.complete" ]; then
  echo "Installing Ironic for the live tests into $home" >&2
  if [ -n "$uv" ]; then
    [ -x "$home/bin/python" ] ||
      "$uv" venv --quiet --allow-existing --no-python-downloads --python "$python" "$home"
    "$uv" pip install --quiet --compile-bytecode --python "$home/bin/python" \
      --require-hashes --only-binary :all: -r "$wanted"
  else
    [ -x "$home/bin/python" ] || "$python" -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check \
      --require-hashes --only-binary :all: -r "$wanted"
  fi
  touch "$home/.complete"
fi
echo "$home"
