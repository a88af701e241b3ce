"""What is shipped: the lists that must agree with each other, the wheel, the CMake build, and Fast DDS's profiles."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import spann3r_ros
from spann3r_ros.errors import INSTALL

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "spann3r_ros"
PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))
INTERFACES = sorted([*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv")])
DISTRIBUTION_OF_MODULE = {
    "backports": "backports.zstd",
    "compression": "backports.zstd",  # in the standard library from Python 3.14 on
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "tf2_ros": "tf2_ros_py",  # ROS's package of the module's name is C++
    "yaml": "pyyaml",
}
ROS_MODULES_WITHOUT_PACKAGE = {"spann3r_ros"}
PROFILES = ["fastdds.xml", "fastdds_loopback.xml"]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def imported_modules() -> set[str]:
    """Top-level names of the third-party modules that the package imports, lazily or not."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names) - ROS_MODULES_WITHOUT_PACKAGE


def test_setup_cfg_and_package_xml_agree() -> None:
    metadata, manifest = setup_cfg()["metadata"], package_xml()
    for field in ("name", "version", "license"):
        assert metadata[field] == manifest.findtext(field)
    assert metadata["version"] == spann3r_ros.__version__
    for requirement in lines(setup_cfg()["options"]["install_requires"]):
        name = Requirement(requirement).name
        assert name in {pip for pip, _ in INSTALL.values()}, f"say in errors.py how {name} is installed"


def test_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^(\S+) \(.*\)\n-+$", (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == setup_cfg()["metadata"]["version"]


def test_every_import_is_declared() -> None:
    options = setup_cfg()
    declared = lines(options["options"]["install_requires"])
    declared += [line for extra in options["options.extras_require"].values() for line in lines(extra)]
    pip_names = {Requirement(line).name for line in declared}
    ros_names = {str(depend.text) for depend in package_xml() if depend.tag in ("depend", "exec_depend")}
    unknown = {
        module
        for module in imported_modules()
        if DISTRIBUTION_OF_MODULE.get(module, module) not in pip_names | ros_names
    }
    assert not unknown, f"name {sorted(unknown)} in setup.cfg or package.xml"


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    """As sentences for people, as conditions for programs: the package's, and those that ROS 2 has wheels for."""
    setup = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    bounds = re.search(r"\((\d+), (\d+)\) <= sys.version_info < \((\d+), (\d+)\)", setup)
    without_wheels = re.search(r"sys.version_info >= \((\d+), (\d+)\)", setup)
    assert bounds and without_wheels
    first, last, last_with_wheels = int(bounds[2]), int(bounds[4]) - 1, int(without_wheels[2]) - 1
    assert (bounds[1], bounds[3], without_wheels[1]) == ("3", "3", "3")
    versions, wheels = f"Python 3.{first} to 3.{last}", f"3.{first} to 3.{last_with_wheels}"
    assert f"{versions} is needed" in setup and f"PYTHON=python3.{last_with_wheels}" in setup
    assert f"CPython {wheels}" in (ROOT / "requirements" / "ros.txt").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert versions in text and f"ROS 2 wheels: {wheels}" in text, name
    configuration = setup_cfg()
    assert configuration["options"]["python_requires"] == f">=3.{first}"
    classifiers = lines(configuration["metadata"]["classifiers"])
    listed = [line.rpartition(" ")[2] for line in classifiers if re.search(r"Python :: 3\.\d+$", line)]
    assert listed == [f"3.{minor}" for minor in range(first, last + 1)]
    tools = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'target-version = "py3{first}"' in tools and f'python_version = "3.{first}"' in tools


@pytest.mark.parametrize("file", ["library.txt", "mapping.txt", "dev.txt", "ros.txt"])
def test_development_versions_are_pinned_within_the_declared_ranges(file: str) -> None:
    ranges = {Requirement(line).name: Requirement(line) for line in lines(setup_cfg()["options"]["install_requires"])}
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    pins = [Requirement(line.split("  #")[0]) for line in lines(text) if not line.startswith(("#", "-"))]
    assert pins
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"{pin} is not pinned"
        allowed = ranges.get(pin.name.lower())
        assert allowed is None or allowed.specifier.contains(specifier.version), f"{pin} is outside of {allowed}"


@pytest.mark.fault("ROS tools")
def test_no_enumeration_of_a_newer_pillow_than_ubuntu_22_04_has() -> None:
    (pillow,) = (line for line in lines(setup_cfg()["options"]["install_requires"]) if line.startswith("pillow"))
    assert pillow == "pillow>=9", "Pillow 9.1 brought the enumerations"
    newer = re.compile(r"\bImage\.(Dither|Palette|Quantize|Resampling|Transform|Transpose)\b")
    assert not [path for path in PACKAGE.rglob("*.py") if newer.search(path.read_text(encoding="utf-8"))]


@pytest.mark.fault("ROS tools")
@pytest.mark.parametrize("path", sorted((ROOT / "docker").iterdir()), ids=lambda path: path.name)
def test_images_keep_the_numpy_that_their_modules_are_compiled_against(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip3? install ([^\n&}]+)", text)
    assert installs and all("--constraint" in line or '"numpy<2"' in line for line in installs)
    if "--constraint" in text:  # a NumPy that the system's packages do not know
        assert not re.search(r"python3-(numpy|scipy|opencv|pil)\b", text) and '"scipy>=' in text
    for name in ("FASTDDS", "FASTRTPS"):
        assert f"{name}_DEFAULT_PROFILES_FILE=/workspace/install/share/spann3r_ros/config/fastdds.xml" in text
    pip = [Requirement(line) for line in re.findall(r'"([a-z-]+>=[\d.]+)"', text)]
    declared = {Requirement(line).name: Requirement(line) for line in lines(setup_cfg()["options"]["install_requires"])}
    assert all(wanted.specifier == declared[wanted.name].specifier for wanted in pip)


def console_scripts() -> dict[str, str]:
    entries = lines(setup_cfg()["options.entry_points"]["console_scripts"])
    return dict(re.split(r"\s*=\s*", entry) for entry in entries)


@pytest.mark.parametrize("target", console_scripts().values())
def test_console_scripts_lead_to_functions(target: str) -> None:
    module, function = target.split(":")
    path = ROOT / (module.replace(".", "/") + ".py")
    names = [
        node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]
    assert function in names


def test_cmake_reads_the_same_console_scripts() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    pattern = re.search(r'file\(STRINGS setup\.cfg console_scripts REGEX "(.*)"\)', cmake)
    assert pattern
    found = [line for line in (ROOT / "setup.cfg").read_text().splitlines() if re.search(pattern[1], line)]
    assert [line.split(" = ")[0].strip() for line in found] == list(console_scripts())


def test_cmake_generates_every_interface() -> None:
    listed = re.findall(r'"((?:msg|srv)/\w+\.\w+)"', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert sorted(listed) == [str(path.relative_to(ROOT)) for path in INTERFACES]


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.name)
def test_every_field_of_an_interface_is_explained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    fields = [line for line in lines(text) if not line.startswith("#") and line not in ("---", "bool success")]
    assert fields
    assert not [line for line in fields if not re.fullmatch(r"\S+ \w+ +# \S.*", line)]


def test_only_pip_names_no_index() -> None:
    for path in [*(ROOT / "requirements").iterdir(), ROOT / "Makefile", ROOT / "scripts" / "setup.sh"]:
        assert not re.search(r"index-url|find-links|https?://", path.read_text(encoding="utf-8")), path


def test_git_hooks_are_what_make_lint_runs() -> None:
    """None needs a download: each is a program of .venv."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    commands = [line.removeprefix("@").replace("$(RUN)", "scripts/run.sh") for line in lines(recipe[1])]
    assert [hook["entry"] for hook in repository["hooks"]] == commands


def copy_of_the_sources(folder: Path) -> Path:
    """What a build needs, without the folders that are made: CMake refuses a .venv inside the sources."""
    folder.mkdir()
    for name in ("CMakeLists.txt", "package.xml", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("cmake", "config", "launch", "msg", "srv", "spann3r_ros"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def test_the_wheel_holds_the_library_and_its_data(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed here: pip install setuptools")
    source = copy_of_the_sources(tmp_path / "source")  # a build writes beside its sources
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    result = subprocess.run([*build, tmp_path, source], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    missing = {str(path.relative_to(ROOT)) for path in shipped} - names
    assert not missing, f"name them in setup.cfg, [options.package_data]: {sorted(missing)}"
    assert "spann3r_ros/py.typed" in names
    assert not [name for name in names if name.startswith(("test/", "launch/", "config/"))]
    data = {name.partition(".data/data/")[2] for name in names}
    assert {f"share/spann3r_ros/config/presets/{path.name}" for path in PRESETS} <= data


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without what ROS's wheels add to it, which no other program should inherit."""
    dropped = ("PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, **variables}


@pytest.mark.slow
def test_cmake_builds_installs_and_the_result_runs(tmp_path: Path) -> None:
    """A plain (not symlinked) build, then messages and launchers from the installed tree alone."""
    pytest.importorskip("rosidl_generator_py", reason="no ROS 2 with message generators here: make setup")
    if os.environ.get("ROS_DISTRO"):
        environment = dict(os.environ)
    else:
        prefix = sys.prefix
        environment = clean_environment(
            AMENT_PREFIX_PATH=prefix,
            CMAKE_PREFIX_PATH=prefix,
            VIRTUAL_ENV=prefix,
            PATH=f"{prefix}/bin:{os.environ['PATH']}",
        )
    stale = ROOT / "spann3r_ros/blocks/__pycache__/stale.cpython-310.pyc"
    stale.parent.mkdir(exist_ok=True)
    stale.touch()
    try:
        install = installed_by_cmake(tmp_path, environment)
    finally:
        stale.unlink()

    (modules,) = install.glob("l*/**/*-packages")
    installed = modules / "spann3r_ros"
    assert (installed / "py.typed").is_file()
    assert (installed / "blocks/__init__.py").is_file()
    assert not (installed / "blocks/__pycache__").exists()
    assert (install / "share/spann3r_ros/msg/ReconstructionStatus.msg").is_file()  # for `ros2 interface show`
    for name in ("config/fastdds.xml", "launch/spann3r.launch.py", "package.xml"):
        assert (install / "share/spann3r_ros" / name).is_file()
    libraries = {
        name: os.pathsep.join(filter(None, [str(folder), environment.get(name)]))
        for name, folder in (("PYTHONPATH", modules), ("LD_LIBRARY_PATH", install / "lib"))
    }
    code = (
        "import spann3r_ros.config as config; from spann3r_ros.msg import ReconstructionStatus as Status;"
        "from spann3r_ros.srv import SaveMap;"
        "status = Status(); status.memory.tokens = 7;"
        "from rclpy.serialization import serialize_message, deserialize_message;"
        "print(deserialize_message(serialize_message(status), Status).memory.tokens, config.__file__, Status)"
    )
    result = run([sys.executable, "-c", code], {**environment, **libraries}, tmp_path)
    tokens, config_file, _ = result.split(maxsplit=2)
    assert tokens == "7"
    assert Path(config_file) == installed / "config.py"
    for name in console_scripts():
        assert os.access(install / "lib/spann3r_ros" / name, os.X_OK)
    usage = run([install / "lib/spann3r_ros/spann3r_ros", "--help"], {**environment, **libraries}, tmp_path)
    assert usage.startswith("usage: spann3r_ros")


def installed_by_cmake(folder: Path, environment: dict[str, str]) -> Path:
    """Where the package lies after a plain build and installation.

    The messages that `make setup` compiled from wheels are not compiled again: its build is configured anew.
    """
    build = ROOT / "build" / "wheels" / "spann3r_ros"
    if os.environ.get("ROS_DISTRO") or not build.is_dir():
        source, build, prefix = copy_of_the_sources(folder / "source"), folder / "build", folder / "install"
        install = prefix
    else:
        source, prefix = ROOT, Path(sys.prefix)
        environment = {**environment, "DESTDIR": str(folder)}
        install = folder / prefix.relative_to("/")
    options = [f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DBUILD_TESTING=OFF", "-DSPANN3R_ROS_EDITABLE=OFF"]
    configure = ["cmake", "-S", source, "-B", build, *options, "-DAMENT_CMAKE_SYMLINK_INSTALL=OFF"]
    for command in (configure, ["cmake", "--build", build, "--target", "install", "--parallel", "2"]):
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
        assert result.returncode == 0, result.stdout + result.stderr
    return install


def run(command: list[str | Path], environment: dict[str, str], folder: Path, timeout: float = 60.0) -> str:
    result = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return result.stdout


SEND = """
import time, numpy as np, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Int32
rclpy.init()
node = rclpy.create_node("camera")
received = []
node.create_subscription(Int32, "received", lambda message: received.append(message.data), 100)
publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
def wait(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.01)
    return condition()
assert wait(lambda: publisher.get_subscription_count() and node.count_publishers("received"), 60), "nobody listens"
pixels = np.arange(640 * 480 * 3).astype(np.uint8)
lost = 0
for index in range(20):
    message = Image(height=480, width=640, step=1920, encoding="rgb8")
    message.header.stamp.sec = index
    message.data.frombytes(pixels)
    publisher.publish(message)
    lost += not wait(lambda: index in received, 5)
    if lost > 5:
        break
print(lost)
"""
RECEIVE = """
import numpy as np, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Int32
rclpy.init()
node = rclpy.create_node("listener")
publisher = node.create_publisher(Int32, "received", 100)
def receive(message):
    assert np.array_equal(np.frombuffer(message.data, np.uint8), np.arange(640 * 480 * 3).astype(np.uint8))
    publisher.publish(Int32(data=message.header.stamp.sec))
node.create_subscription(Image, "image", receive, QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT))
rclpy.spin(node)
"""


@pytest.mark.parametrize("profile", PROFILES)
def test_best_effort_images_arrive_with_our_profile(profile: str, tmp_path: Path) -> None:
    """Two processes over real DDS; without a profile most of these 0.9 MB images are lost."""
    pytest.importorskip("rclpy", reason="no ROS 2 here: make setup")
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip(f"the profile is for Fast DDS, and RMW_IMPLEMENTATION is {os.environ['RMW_IMPLEMENTATION']}")
    file = str(ROOT / "config" / profile)
    environment = dict(
        os.environ,
        FASTDDS_DEFAULT_PROFILES_FILE=file,
        FASTRTPS_DEFAULT_PROFILES_FILE=file,
        ROS_DOMAIN_ID=str(32 + os.getpid() % 70),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        ROS_LOG_DIR=str(tmp_path),
    )
    environment.pop("ROS_LOCALHOST_ONLY", None)
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVE], env=environment)
    try:
        lost = int(run([sys.executable, "-c", SEND], environment, tmp_path, timeout=120))
        assert receiver.poll() is None, "it stops at an image that is not what was sent"
    finally:
        receiver.kill()
        receiver.wait()
    assert lost <= 5  # of 20, one at a time; best effort may lose some, the default transport loses most


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_give_every_participant_32_megabytes(profile: str) -> None:
    tree = ElementTree.parse(ROOT / "config" / profile)
    segments = [element.text for element in tree.iter() if element.tag.endswith("segment_size")]
    assert segments == [str(32 * 2**20)]
    addresses = [element.text for element in tree.iter() if element.tag.endswith("}address")]
    assert addresses == (["127.0.0.1"] if "loopback" in profile else [])
