"""Everything that can go wrong around the running node, each as a function that does it once."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters, SetParametersAtomically
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from spann3r_ros.ros import qos
from spann3r_ros.ros.conversions import header
from spann3r_ros.ros.soak.faulty_robot import FRAME, RAW, FaultyRobot
from spann3r_ros.srv import LoadMap, SaveMap

SECOND = 1_000_000_000
HOUR = 3600 * SECOND

ENCODINGS = (
    "",
    "rgb8",
    "bgra8",
    "mono16",
    "yuyv",
    "uyvy",
    "nv12",
    "nv21",
    "bayer_rggb8",
    "32FC1",
    "64FC4",
    "rgb8\n",
    "Ü",
)
PATHS = (
    "",
    "~nosuchuser/x",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "/proc/x/y",
    "/",
    ".",
    "x" * 5000,
    "a\tb\n",
    "/tmp/ü",
)
PARAMETERS: tuple[tuple[str, ParameterValue], ...] = (
    ("max_rate", ParameterValue(type=3, double_value=1000.0)),
    ("max_rate", ParameterValue(type=3, double_value=math.nan)),
    ("min_motion", ParameterValue(type=3, double_value=0.5)),
    ("min_motion", ParameterValue(type=3, double_value=-1.0)),
    ("map.voxel_size", ParameterValue(type=3, double_value=0.07)),
    ("map.voxel_size", ParameterValue(type=2, integer_value=5)),
    ("map.min_confidence", ParameterValue(type=3, double_value=0.0)),
    ("map.min_confidence", ParameterValue(type=4, string_value="high")),
    ("clock_jump", ParameterValue(type=4, string_value="continue")),
    ("clock_jump", ParameterValue(type=4, string_value="never")),
    ("cloud", ParameterValue(type=4, string_value="pointmap")),
    ("status_rate", ParameterValue(type=3, double_value=30.0)),
    ("model", ParameterValue(type=4, string_value="none")),
    ("device", ParameterValue(type=0)),
    ("use_sim_time", ParameterValue(type=4, string_value="yes")),
    ("nonsense", ParameterValue(type=1, bool_value=True)),
    ("", ParameterValue(type=9, string_array_value=["", "a"])),
    ("queue_size", ParameterValue(type=77)),
)
"""Names and values, allowed and not."""

Fault = Callable[[FaultyRobot, random.Random], None]


def malformed_image(robot: FaultyRobot, rng: random.Random) -> None:
    """Sizes, steps and data that do not fit each other."""
    changes: dict[str, Any] = {
        "height": rng.choice([0, 1, 7, 48, 2**31, 2**32 - 1]),
        "width": rng.choice([0, 1, 7, 48, 2**31, 2**32 - 1]),
        "step": rng.choice([0, 1, 144, 2**32 - 1]),
        "data": bytes(rng.choice([0, 1, 100, 6912])),
    }
    names = rng.sample(sorted(changes), rng.randint(1, 4))
    robot.send(robot.image(), robot.now(), **{name: changes[name] for name in names})


def odd_encoding(robot: FaultyRobot, rng: random.Random) -> None:
    """Names of encodings, known and unknown, with odd sizes."""
    width, height, pixel = rng.choice([1, 7, 48]), rng.choice([1, 5, 48]), rng.choice([1, 2, 3, 4, 8])
    robot.send(
        robot.image(),
        robot.now(),
        encoding=rng.choice(ENCODINGS),
        width=width,
        height=height,
        step=width * pixel,
        data=rng.randbytes(width * height * pixel),
        is_bigendian=rng.randrange(2),
    )


def odd_size(robot: FaultyRobot, rng: random.Random) -> None:
    """An image of one pixel, a line, or 4K."""
    height, width = rng.choice([(1, 1), (1, 500), (500, 1), (2160, 3840)])
    robot.send(np.full((height, width, 3), rng.randrange(256), np.uint8), robot.now())


def damaged_jpeg(robot: FaultyRobot, rng: random.Random) -> None:
    """A compressed image that is whole, cut off, holed, or something else."""
    content = bytearray(robot.encoded())
    place = rng.randrange(len(content))
    damaged = rng.choice(
        [content, content[:place], content[:-2], content[:place] + bytes(50) + content[place + 50 :], b""]
    )
    robot.send_jpeg(bytes(damaged), robot.now(), rng.choice(["jpeg", "png", "", "16UC1; compressedDepth"]))


def blind_camera(robot: FaultyRobot, rng: random.Random) -> None:
    """Some black, white, noisy or upside-down images."""
    for _ in range(rng.randint(1, 5)):
        image = robot.image()
        noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, image.shape, np.uint8)
        robot.send(rng.choice([image * 0, image * 0 + 255, noise, image[::-1]]), robot.now())


def stray_stamp(robot: FaultyRobot, rng: random.Random) -> None:
    """One image of another time."""
    robot.send(robot.image(), robot.now() + rng.choice([-HOUR, HOUR, -SECOND, 5 * SECOND, -robot.now()]))


def jump_of_time(robot: FaultyRobot, rng: random.Random) -> None:
    """Some images of another time, so that it is believed."""
    begin = robot.now() - rng.choice([HOUR, 30 * SECOND, -HOUR])
    for number in range(8):
        robot.send(robot.image(), begin + number * SECOND // 30)


def standing_stamps(robot: FaultyRobot, rng: random.Random) -> None:
    """Stamps that are zero, or always the same."""
    stamp = rng.choice([0, robot.now(), SECOND])
    for _ in range(6):
        robot.send(robot.image(), stamp)


def flood(robot: FaultyRobot, rng: random.Random) -> None:
    """Far more images than the network can take."""
    for _ in range(rng.randint(20, 60)):
        robot.send(robot.image(), robot.now())


def odd_calibration(robot: FaultyRobot, rng: random.Random) -> None:
    """A CameraInfo that changes, is absurd, or is of another image."""
    focal = rng.choice([0.0, -50.0, 1e-9, 1e12, math.nan, math.inf, 60.0])
    info = CameraInfo(
        header=header(robot.now(), FRAME), width=rng.choice([0, 64, 640]), height=rng.choice([0, 48, 480])
    )
    info.k = [focal, 0.0, 32.0, 0.0, focal, 24.0, 0.0, 0.0, 1.0]
    info.distortion_model = rng.choice(["", "plumb_bob", "equidistant", "fisheye", "rational_polynomial", "magic"])
    info.d = [rng.choice([0.0, 0.1, 1e9, math.nan])] * rng.choice([0, 4, 5, 8, 1000])
    robot.info.publish(info)


def odd_transform(robot: FaultyRobot, rng: random.Random) -> None:
    """A transform that is none, or closes a loop."""
    turn = Quaternion(x=rng.choice([0.0, math.nan]), y=0.0, z=0.0, w=rng.choice([0.0, 1.0]))
    transform = Transform(translation=Vector3(x=rng.choice([0.0, 1e300, math.inf])), rotation=turn)
    names = ["map", "odom", FRAME, "", "/a", rng.choice("bcdef")]
    links = [
        TransformStamped(
            header=header(robot.now(), rng.choice(names)), child_frame_id=rng.choice(names), transform=transform
        )
        for _ in range(5)
    ]
    robot.transforms.publish(TFMessage(transforms=links))


def hostile_path(robot: FaultyRobot, rng: random.Random) -> None:
    """Maps to be saved to or loaded from where there cannot be any."""
    if rng.random() < 0.5:
        robot.call(LoadMap, "load_map", LoadMap.Request(path=rng.choice(PATHS)))
    else:
        # Not all of them: an empty path saves a map, and nothing shall litter the disk.
        robot.call(SaveMap, "save_map", SaveMap.Request(path=rng.choice(PATHS[1:8])))


def many_requests(robot: FaultyRobot, rng: random.Random) -> None:
    """Requests at once, whose answers nobody waits for now."""
    for _ in range(rng.randint(3, 9)):
        robot.ask(SaveMap, "save_map", SaveMap.Request(path="/dev/null/x"))
        robot.ask(Trigger, rng.choice(["reset", "pause", "resume"]))
    robot.ask(Trigger, "resume")


def odd_parameter(robot: FaultyRobot, rng: random.Random) -> None:
    """Parameters set to what is allowed and what is not."""
    chosen = [Parameter(name=name, value=value) for name, value in rng.sample(PARAMETERS, rng.randint(1, 3))]
    kind, service = rng.choice(
        [(SetParameters, "set_parameters"), (SetParametersAtomically, "set_parameters_atomically")]
    )
    robot.call(kind, service, kind.Request(parameters=chosen))
    names = [parameter.name for parameter in chosen]
    robot.call(GetParameters, "get_parameters", GetParameters.Request(names=names))
    robot.call(DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names))


def life_cycle(robot: FaultyRobot, rng: random.Random) -> None:
    """Transitions, possible and impossible, and back to work."""
    deactivate, clean = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
    for transition in rng.choice([[deactivate], [deactivate, clean], [clean], [Transition.TRANSITION_CONFIGURE], [99]]):
        robot.change_state(transition)
    robot.activate()


def second_publisher(robot: FaultyRobot, rng: random.Random) -> None:
    """Another camera on the same topic, for a few images."""
    other = robot.node.create_publisher(Image, RAW, qos.live())
    offset = rng.choice([0, -HOUR, SECOND])
    for _ in range(3):
        image = Image(header=header(robot.now() + offset, FRAME), height=48, width=64, step=192, encoding="rgb8")
        image.data.frombytes(bytes(48 * 192))
        other.publish(image)
        robot.send_good()
    robot.node.destroy_publisher(other)


def camera_restarts(robot: FaultyRobot, rng: random.Random) -> None:
    """The camera's publisher goes, and comes back with another quality of service."""
    robot.replace_camera(rng.choice([qos.live(), qos.live(1), qos.camera_info(), qos.latched()]))


FAULTS: tuple[Fault, ...] = (
    malformed_image,
    odd_encoding,
    odd_size,
    damaged_jpeg,
    blind_camera,
    stray_stamp,
    jump_of_time,
    standing_stamps,
    flood,
    odd_calibration,
    odd_transform,
    hostile_path,
    many_requests,
    odd_parameter,
    life_cycle,
    second_publisher,
    camera_restarts,
)
