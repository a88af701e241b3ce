"""The node, and if wanted RViz and a bag that starts to play when the node is ready.

ros2 launch spann3r_ros spann3r.launch.py image_topic:=/camera/image_raw checkpoint:=/models/spann3r.pth rviz:=true
ros2 launch spann3r_ros spann3r.launch.py bag:=/data/walk rviz:=true
"""

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

SHARE = Path(get_package_share_directory("spann3r_ros"))
BOOLEANS = ["true", "false"]

# Arguments that are parameters of the node: left empty, params_file decides.
OVERRIDES = (
    "image_topics",
    "checkpoint",
    "device",
    "output",
    "queue_policy",
    "world_frame",
    "odom_frame",
    "base_frame",
)


def start(context: LaunchContext) -> list:
    value = {name: LaunchConfiguration(name).perform(context) for name in context.launch_configurations}
    simulated = {"auto": bool(value["bag"]), "true": True, "false": False}[value["use_sim_time"]]
    overrides = {name: value[name] for name in OVERRIDES if value[name]}
    if value["image_topic"] and value["image_topics"]:
        raise RuntimeError("give image_topic for one camera, or image_topics for several, not both")
    if value["image_topic"]:
        overrides["image_topics"] = [value["image_topic"]]
    if value["image_topics"]:
        overrides["image_topics"] = yaml.safe_load(value["image_topics"])
    # Every image of a recording counts, unless told otherwise.
    if value["bag"] and not value["queue_policy"]:
        overrides["queue_policy"] = "all"
    node = LifecycleNode(
        package="spann3r_ros",
        executable="spann3r",
        name="spann3r",
        namespace=value["namespace"],
        parameters=[value["params_file"], overrides, {"use_sim_time": simulated}],
        arguments=["--ros-args", "--log-level", value["log_level"]],
        output="screen",
    )
    actions = [node]
    if value["rviz"] == "true":
        results = f"/{value['namespace'].strip('/')}/spann3r".replace("//", "/")
        topics = ("map", "cloud", "path", "pose", "depth", "confidence")
        actions.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(SHARE / "config" / "spann3r.rviz")],
                remappings=[(f"/spann3r/{topic}", f"{results}/{topic}") for topic in topics],
                parameters=[{"use_sim_time": simulated}],
            )
        )
    if value["bag"]:
        # The publishers come first and the images two seconds later: the node has subscribed by then.
        play = ExecuteProcess(cmd=["ros2", "bag", "play", value["bag"], "--clock", "--delay", "2"], output="screen")
        ready = OnStateTransition(target_lifecycle_node=node, goal_state="active", entities=[play])
        actions.insert(0, RegisterEventHandler(ready))
    return actions


def generate_launch_description() -> LaunchDescription:
    as_in_file = " Empty: as in params_file."
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(SHARE / "config" / "spann3r.yaml"),
                description="Parameter file of the node; the one that ships explains every parameter.",
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
                "checkpoint", default_value="", description="File with the weights (.pth or .safetensors)." + as_in_file
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
