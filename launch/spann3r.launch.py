"""The node, and if wanted RViz and a bag that starts to play when the node is ready.

ros2 launch spann3r_ros spann3r.launch.py image_topic:=/camera/image_raw checkpoint:=/models/spann3r.pth rviz:=true
ros2 launch spann3r_ros spann3r.launch.py bag:=/data/walk rviz:=true
"""

from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

SHARE = Path(get_package_share_directory("spann3r_ros"))
DEFAULTS = str(SHARE / "config" / "spann3r.yaml")
BOOLEANS = ["true", "false"]

# Arguments that are parameters of the node: left empty, params_file decides.
OVERRIDES = (
    "image_topics",
    "model",
    "checkpoint",
    "backend",
    "device",
    "output",
    "queue_policy",
    "world_frame",
    "odom_frame",
    "base_frame",
    "publish_tf",
    "snapshot_period",
    "resume",
)

READY = b"active, images are awaited on"
"""What the node says when images are mapped from now on, in a logger of its own: at every log level."""


def start(context: LaunchContext) -> list:
    value = {name: LaunchConfiguration(name).perform(context) for name in context.launch_configurations}
    simulated = {"auto": bool(value["bag"]), "true": True, "false": False}[value["use_sim_time"]]
    overrides = {name: value[name] for name in OVERRIDES if value[name]}
    for name in ("publish_tf", "resume"):
        if value[name]:
            overrides[name] = value[name] == "true"
    if value["snapshot_period"]:
        overrides["snapshot_period"] = float(value["snapshot_period"])
    if value["image_topic"] and value["image_topics"]:
        raise RuntimeError("give image_topic for one camera, or image_topics for several, not both")
    if value["image_topic"]:
        overrides["image_topics"] = [value["image_topic"]]
    if value["image_topics"]:
        overrides["image_topics"] = yaml.safe_load(value["image_topics"])
    # Every image of a recording counts, unless told otherwise.
    if value["bag"] and not value["queue_policy"]:
        overrides["queue_policy"] = "all"
    files = [value["params_file"]]
    if value["preset"]:
        # Above the file that ships, which holds every default, and below the user's own.
        files.insert(1 if files[0] == DEFAULTS else 0, preset(value["preset"]))
    node = LifecycleNode(
        package="spann3r_ros",
        executable="spann3r",
        name="spann3r",
        namespace=value["namespace"],
        parameters=[*files, overrides, {"use_sim_time": simulated}],
        arguments=["--ros-args", "--log-level", value["log_level"], "--log-level", f"{logger(value)}.ready:=info"],
        output="screen",
    )
    actions = [node]
    if value["rviz"] == "true" and not is_installed("rviz2"):
        actions.append(LogInfo(msg="rviz:=true: RViz is not installed (package rviz2); the node runs without it"))
    elif value["rviz"] == "true":
        actions.append(rviz(value, overrides, simulated))
    if value["bag"]:
        if not is_installed("ros2bag"):
            raise RuntimeError(f"bag:={value['bag']}: ros2 bag is not installed (package ros2bag)")
        # The publishers come first and the images two seconds later: the node has subscribed by then.
        play = ExecuteProcess(cmd=["ros2", "bag", "play", value["bag"], "--clock", "--delay", "2"], output="screen")
        # Not on the transition's event: the node may be active before launch listens.
        hear = once_heard(READY, [play])
        actions.insert(0, RegisterEventHandler(OnProcessIO(target_action=node, on_stdout=hear, on_stderr=hear)))
    return actions


def preset(name: str) -> dict:
    """The parameters of a preset."""
    files = {path.stem: path for path in sorted((SHARE / "config" / "presets").glob("*.yaml"))}
    if name not in files:
        raise RuntimeError(f"preset:={name}: expected {' | '.join(files)}")
    return yaml.safe_load(files[name].read_text(encoding="utf-8"))


def is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def logger(value: dict) -> str:
    """Name of the node's logger."""
    return ".".join([*filter(None, value["namespace"].split("/")), "spann3r"])


def once_heard(words: bytes, entities: list):
    """A handler of a process's output that gives the entities when the words come for the first time, never again."""
    waiting, tail = list(entities), b""

    def hear(event: object) -> list:
        nonlocal tail
        tail = (tail + event.text)[-10_000:]  # the words may come in two pieces
        if words not in tail:
            return []
        found, waiting[:] = list(waiting), []
        return found

    return hear


def rviz(value: dict, overrides: dict, simulated: bool) -> Node:
    """RViz with the topics and the frame that the node has."""

    def of(name: str) -> object:
        """A parameter as the node gets it; nothing when it keeps its default."""
        return overrides.get(name) or in_file(value["params_file"]).get(name)

    namespace = "/" + value["namespace"].strip("/")
    results = f"{namespace}/spann3r".replace("//", "/")
    remaps = [
        (f"/spann3r/{topic}", f"{results}/{topic}") for topic in ("map", "cloud", "path", "pose", "depth", "confidence")
    ]
    image = str((of("image_topics") or ["camera/image_raw"])[0])
    remaps.append(("/camera/image_raw", image if image.startswith("/") else f"{namespace}/{image}".replace("//", "/")))
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(SHARE / "config" / "spann3r.rviz"), "-f", str(of("world_frame") or "map")],
        remappings=remaps,
        parameters=[{"use_sim_time": simulated}],
    )


def in_file(path: str) -> dict:
    """The parameters that a file gives to the node; none when it cannot be read, which the node will say."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    found: dict = {}
    for node, entry in (content if isinstance(content, dict) else {}).items():
        if node.strip("/*").split("/")[-1] in ("", "spann3r") and isinstance(entry, dict):
            found.update(entry.get("ros__parameters") or {})
    return found


def generate_launch_description() -> LaunchDescription:
    as_in_file = " Empty: as in params_file."
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument(
                "params_file",
                default_value=DEFAULTS,
                description="Parameter file of the node; the one that ships explains every parameter.",
            ),
            DeclareLaunchArgument(
                "preset",
                default_value="",
                description="Settings that ship, by name (config/presets); params_file, other than the one that "
                "ships, and the arguments count more. Empty: none.",
            ),
            DeclareLaunchArgument(
                "image_topic", default_value="", description="Image topic of one camera." + as_in_file
            ),
            DeclareLaunchArgument(
                "image_topics",
                default_value="",
                description="List of image topics, one per camera: [/left/image_raw, /right/image_raw]." + as_in_file,
            ),
            DeclareLaunchArgument(
                "model", default_value="", description="Family of the network (docs/models.md)." + as_in_file
            ),
            DeclareLaunchArgument(
                "checkpoint",
                default_value="",
                description="File with the weights (.pth or .safetensors), or folder of exported stages." + as_in_file,
            ),
            DeclareLaunchArgument(
                "backend",
                default_value="",
                choices=["", "torch", "onnxruntime"],
                description="What runs the network; onnxruntime runs exported stages (docs/onnx.md)." + as_in_file,
            ),
            DeclareLaunchArgument(
                "device",
                default_value="",
                choices=["", "auto", "cpu", "cuda"],
                description="Where the network runs." + as_in_file,
            ),
            DeclareLaunchArgument(
                "output",
                default_value="",
                choices=["", "refined", "immediate", "both"],
                description="Final pointmaps one frame late, those without delay, or both." + as_in_file,
            ),
            DeclareLaunchArgument(
                "queue_policy",
                default_value="",
                choices=["", "latest", "all"],
                description="Whether a newer image replaces the one that waits. Empty: all with a bag, else as in "
                "params_file.",
            ),
            DeclareLaunchArgument("world_frame", default_value="", description="Frame of the map." + as_in_file),
            DeclareLaunchArgument(
                "odom_frame",
                default_value="",
                description="With base_frame: world -> odom is published instead of world -> camera." + as_in_file,
            ),
            DeclareLaunchArgument("base_frame", default_value="", description="The robot's base." + as_in_file),
            DeclareLaunchArgument(
                "publish_tf",
                default_value="",
                choices=["", *BOOLEANS],
                description="Whether the camera's (or the odometry's) place is broadcast." + as_in_file,
            ),
            DeclareLaunchArgument(
                "snapshot_period",
                default_value="",
                description="Seconds between two snapshots on disk, 0 for none." + as_in_file,
            ),
            DeclareLaunchArgument(
                "resume",
                default_value="",
                choices=["", *BOOLEANS],
                description="Whether to go on from the newest whole snapshot, in the same world." + as_in_file,
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="auto",
                choices=["auto", *BOOLEANS],
                description="Follow /clock; auto: with a bag.",
            ),
            DeclareLaunchArgument(
                "bag", default_value="", description="Recording to play, with its clock, once the node is ready."
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", choices=BOOLEANS, description="Show map, poses and camera in RViz."
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error"],
                description="Least severity that the node logs.",
            ),
            OpaqueFunction(function=start),
        ]
    )
