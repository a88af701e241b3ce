"""Nothing that a client asks, and nothing that a callback raises, ends the node or leaves a request unanswered."""

from __future__ import annotations

import importlib
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from node_process import NodeProcess
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.executors import MultiThreadedExecutor
from rclpy.service import Service
from robot import Robot
from rosgraph_msgs.msg import Clock
from rosidl_parser.definition import AbstractSequence, Array, BasicType, NamespacedType
from spann3r_ros.srv import LoadMap, SaveMap
from std_msgs.msg import String
from std_srvs.srv import Trigger

from spann3r_ros.errors import DataError
from spann3r_ros.ros.guard import GuardedExecutor, GuardedNode

Start = Callable[..., NodeProcess]

NUMBERS = (0, 1, -1, 77, 255, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e308, float("nan"), float("inf"))


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """Hostile paths and names; none of them points to where a map may be written."""
    (tmp_path / "saved").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "saved" / "manifest.json")
    (tmp_path / "loop").symlink_to("loop")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"format": "spann3r_ros map"}')
    (Path(os.fsdecode(os.fsencode(foreign) + b"/caf\xe9"))).write_text("a name in another encoding")
    made = [str(tmp_path / name) for name in ("pipe", "saved", "loop", "loop/x", "foreign", "pipe/x")]
    devices = ["/dev/zero", "/dev/null/x", "/proc/self/mem", "/proc/1/x", "/", "/proc/a\0b"]
    return [*made, *devices, "~nosuchuser/x", "x" * 100_000, "/" + "é" * 3000, "/" + "a/" * 3000, "/proc/%s%n/\x1b[2J"]


def hostile(kind: Any, texts: list[str], dice: random.Random) -> Any:
    """A message of a type, filled at random."""
    message = kind()
    for (field, _), slot in zip(kind.get_fields_and_field_types().items(), kind.SLOT_TYPES, strict=True):
        if isinstance(slot, AbstractSequence):
            value: Any = [_value(slot.value_type, texts, dice) for _ in range(dice.choice((0, 1, 3)))]
        elif isinstance(slot, Array):
            continue
        else:
            value = _value(slot, texts, dice)
        setattr(message, field, value)
    return message


def _value(slot: Any, texts: list[str], dice: random.Random) -> Any:
    if isinstance(slot, NamespacedType):
        module = importlib.import_module(".".join(slot.namespaces))
        return hostile(getattr(module, slot.name), texts, dice)
    if not isinstance(slot, BasicType):
        return dice.choice(["", *texts])
    if slot.typename == "boolean":
        return dice.random() < 0.5
    if slot.typename in ("float", "double"):
        return dice.choice(FLOATS if slot.typename == "double" else (0.0, -1.0))
    if slot.typename == "octet":
        return b"\xff"
    bits = {"8": 8, "16": 16, "32": 32, "64": 64}["".join(filter(str.isdigit, slot.typename))]
    info = np.iinfo(f"{'u' if slot.typename.startswith('u') else ''}int{bits}")
    return dice.choice([number for number in NUMBERS if info.min <= number <= info.max])


@pytest.mark.fault("hostile request")
@pytest.mark.fault("services under load")
@pytest.mark.timeout(120)
def test_hostile_requests_to_every_service_are_answered_and_change_nothing(
    start: Start, robot: Robot, texts: list[str], tmp_path: Path
) -> None:
    dice = random.Random(3)
    node = start(use_sim_time=True)
    clock = robot.publisher(Clock, "/clock")
    robot.synchronize()
    node.wait_for_log("configured")
    for seconds, nanoseconds in ((-5, 0), (1, 4_000_000_000), (2**31 - 1, 999_999_999), (-(2**31), 0), (3, 0)):
        message = Clock()
        message.clock.sec, message.clock.nanosec = seconds, nanoseconds
        clock.publish(message)

    services = dict(robot.node.get_service_names_and_types_by_node("spann3r", "/"))
    assert {"/spann3r/save_map", "/spann3r/set_parameters", "/spann3r/change_state", "/spann3r/reset"} <= set(services)
    for name, (text,) in services.items():
        package, _, kind = text.split("/")
        service = getattr(importlib.import_module(f"{package}.srv"), kind)
        for _ in range(5):
            request = hostile(service.Request, texts, dice)
            if service is ChangeState:  # the valid ones are 1 to 7
                request.transition.id, request.transition.label = dice.choice(((0, ""), (77, ""), (255, "x" * 9999)))
            answer = robot.call(service, name, request)
            if service is ChangeState:
                assert not answer.success
            if service is SetParameters:
                assert len(answer.results) == len(request.parameters)
                assert all(not result.successful and result.reason for result in answer.results)
            assert node.alive, f"{name} {request}"

    for path in texts:
        loaded = robot.call(LoadMap, "/spann3r/load_map", LoadMap.Request(path=path))
        saved = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=path))
        for answer in (loaded, saved):
            assert not answer.success and len(answer.message) > 10, path[:50]
            assert len(answer.message) < 20_000
    saved = robot.call(SaveMap, "/spann3r/save_map", SaveMap.Request(path=str(tmp_path / "foreign")))
    assert r"caf\udce9" in saved.message, "the name is said as far as it can be"

    odd = Parameter(name="map.voxel_size", value=ParameterValue(type=77))
    good = Parameter(name="map.voxel_size", value=ParameterValue(type=2, integer_value=5))
    atomic = robot.call(
        SetParametersAtomically,
        "/spann3r/set_parameters_atomically",
        SetParametersAtomically.Request(parameters=[good, odd]),
    )
    assert not atomic.result.successful and "type 77" in atomic.result.reason
    single = robot.call(SetParameters, "/spann3r/set_parameters", SetParameters.Request(parameters=[odd, good]))
    assert [result.successful for result in single.results] == [False, True]
    assert "'map.voxel_size'" in single.results[0].reason and "type 77" in single.results[0].reason
    [value] = robot.call(
        GetParameters, "/spann3r/get_parameters", GetParameters.Request(names=["map.voxel_size"])
    ).values
    assert (value.type, value.double_value) == (3, 5.0), "a whole number is taken, and the type stays"

    # Many at once, from one client and from many.
    client = robot.node.create_client(SaveMap, "/spann3r/save_map")
    clients = [client] * 30 + [robot.node.create_client(SaveMap, "/spann3r/save_map") for _ in range(20)]
    assert all(each.wait_for_service(30.0) for each in clients)
    robot.synchronize()
    requests = [SaveMap.Request(path=str(tmp_path / f"many_{n}")) for n in range(50)]
    answers = [each.call_async(request) for each, request in zip(clients, requests, strict=True)]
    robot.wait(lambda: all(answer.done() for answer in answers), "fifty answers")
    for answer, request in zip(answers, requests, strict=True):
        assert answer.result().success and Path(request.path, "manifest.json").is_file(), answer.result().message
    assert robot.call(GetState, "/spann3r/get_state").current_state.label == "active"
    assert node.interrupt() == 0 and "never retrieved" not in node.log


@pytest.mark.fault("hostile request")
def test_what_a_callback_raises_is_reported_and_a_request_gets_its_answer(
    domain: int, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = GuardedNode("guarded", context=context)
    heard: list[str] = []

    def raises(_request: Any, response: Any) -> Any:
        response.message = "half an ans\udcffwer"
        raise DataError("a name\udcff")

    def listen(message: String) -> None:
        heard.append(message.data)
        if message.data == "bad":
            raise RecursionError("deep")

    def odd(_request: Any, response: Any) -> Any:
        response.message = "caf\udce9"
        return response

    node.create_service(Trigger, "raises", raises)
    node.create_service(Trigger, "nothing", lambda _request, _response: None)
    node.create_service(Trigger, "odd", odd)
    node.create_subscription(String, "said", listen, 10)
    ticks: list[int] = []
    node.create_timer(0.01, lambda: ticks.append(1 // len(ticks)))

    # rclpy takes outside of its own try: an error there must not leave the service busy for ever.
    take, failures = MultiThreadedExecutor._take_service, iter([True])

    def take_once_wrong(self: Any, service: Service[Any, Any]) -> Any:
        taken = take(self, service)
        if service.srv_name.endswith("odd") and next(failures, False):
            raise ValueError("cannot be decoded")
        return taken

    monkeypatch.setattr(MultiThreadedExecutor, "_take_service", take_once_wrong)
    executor = GuardedExecutor(2, node.report_error, context=context)
    executor.add_node(node)
    stopping = threading.Event()
    thread = threading.Thread(target=executor.spin_until, args=(stopping,))
    thread.start()
    try:
        answer = robot.call(Trigger, "/raises")
        assert (answer.success, answer.message) == (False, r"a name\udcff")
        answer = robot.call(Trigger, "/nothing")
        assert not answer.success and answer.message
        client = robot.node.create_client(Trigger, "/odd")
        assert client.wait_for_service(30.0)
        client.call_async(Trigger.Request())  # is lost
        robot.wait(
            lambda: any("cannot be decoded" in each.text for each in node._complaints.current()), "the loss is told"
        )
        assert robot.call(Trigger, "/odd").message == r"caf\udce9"
        said = robot.publisher(String, "/said")
        said.publish(String(data="bad"))
        said.publish(String(data="good"))
        robot.wait(lambda: heard == ["bad", "good"], "the message after the bad one")
        kinds = {each.kind for each in node._complaints.current()}
        assert {"said", "service raises", "service nothing"} <= kinds and len(ticks) == 0
        assert any(kind.startswith("timer") for kind in kinds)
    finally:
        stopping.set()
        thread.join(10.0)
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
