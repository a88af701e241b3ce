#!/usr/bin/env bash
# Runs a program of .venv with the messages that `make setup` built: scripts/run.sh python -m spann3r_ros --help
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -n ${ROS_DISTRO:-} && -f $root/install/local_setup.bash ]]; then
  set +u # colcon's scripts read variables that may be unset
  # shellcheck source=/dev/null
  source "$root/install/local_setup.bash"
  set -u
fi
unset PYTHONDONTWRITEBYTECODE # setup leaves it to the first import to compile a module, and tests start hundreds of processes
export PATH=$root/.venv/bin:$PATH
exec "$@"
