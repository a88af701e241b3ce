"""The node's parameters: declared from ``NodeConfig``, checked by it, and kept in step with it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    InvalidTopicNameException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.validate_topic_name import validate_topic_name

from spann3r_ros.complaints import Complaints, Severity, reason
from spann3r_ros.config import assign, from_mapping
from spann3r_ros.errors import ConfigError
from spann3r_ros.node_config import NodeConfig
from spann3r_ros.parameter import Parameter, parameters

# Declared by rclpy itself, or by its publishers and subscriptions once they exist.
FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` shows: meaning, unit, range, and whether it can change while the node runs."""
    described = ParameterDescriptor(name=parameter.name, description=parameter.help)
    if parameter.unit:
        described.description += f" [{parameter.unit}]"
    notes = [] if parameter.live else ["read-only while the node is configured"]
    low, high = parameter.low, parameter.high
    if low is not None and high is not None and parameter.kind is int:
        described.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    elif low is not None and high is not None:
        described.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    elif parameter.range_text():
        notes.insert(0, "one of " + parameter.range_text() if parameter.choices else parameter.range_text())
    described.additional_constraints = "; ".join(notes)
    return described


class NodeParameters:
    """All parameters of the node.

    Args:
        node: where they are declared. A wrong override does not raise: the default is kept, and ``check`` will refuse.
        groups: the families' own parameters.
        complaints: of the node; wrong overrides are reported there until they are corrected, unknown ones for ever.
        changed: called with the names of live parameters after they changed.

    Attributes:
        config: their present values. Live ones change in place.
        locked: whether only live parameters may change (while the node is configured).
    """

    def __init__(
        self, node: Node, groups: Sequence[type], complaints: Complaints, changed: Callable[[set[str]], None]
    ) -> None:
        self._node, self._changed = node, changed
        self._complaints = complaints.about("parameters")
        self._refused: dict[str, str] = {}  # overrides that were not corrected since: why, by name
        self._known = {parameter.name: parameter for parameter in parameters(NodeConfig, groups)}
        self.config = from_mapping(NodeConfig, {}, groups)
        self.locked = False
        self._declared = False
        node.add_on_set_parameters_callback(self._on_set)
        for parameter in self._known.values():
            self._declare(parameter)
        self._declared = True
        self._report_unknown()
        for service in node.services:
            if service.srv_type is SetParameters:
                service.callback = self._answer_set
            elif service.srv_type is SetParametersAtomically:
                service.callback = self._answer_set_atomically

    def _declare(self, parameter: Parameter) -> None:
        # rclpy takes an empty list for one of bytes: an empty string stands for "no names".
        default = (parameter.default or [""]) if parameter.kind is list else parameter.default
        described = descriptor(parameter)
        # An override may be a whole number for a float, and rclpy knows no way to correct it before it is declared.
        described.dynamic_typing = parameter.kind is float
        try:
            self._node.declare_parameter(parameter.name, default, described)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            self._node.declare_parameter(parameter.name, default, described, ignore_override=True)
            # rclpy's ranges speak first and name neither unit nor meaning; ours does.
            override = self._overrides()[parameter.name].value
            why = str(error)
            try:
                parameter.check(_plain(override))
            except ConfigError as refusal:
                why = str(refusal)
            self._refused[parameter.name] = why
            self._complaints.report(parameter.name, why, Severity.ERROR)
        if described.dynamic_typing:
            fixed, value = descriptor(parameter), self.fitting(self._node.get_parameter(parameter.name))
            fixed.type = value.type_.value
            self._node.set_descriptor(parameter.name, fixed, value.get_parameter_value())

    def fitting(self, change: RosParameter[Any]) -> RosParameter[Any]:
        """The parameter as it is kept: a whole number given for a float becomes one, so that its type never changes."""
        known = self._known.get(change.name)
        if known is not None and known.kind is float and change.type_ == RosParameter.Type.INTEGER:
            return RosParameter(change.name, RosParameter.Type.DOUBLE, float(change.value))
        return change

    def refusal(self, changes: Sequence[RosParameter[Any]]) -> str:
        """Why these parameters cannot be set, in words that name the parameter; empty when they can."""
        for change in changes:
            if not self._node.has_parameter(change.name):
                return f"unknown parameter '{change.name}': {self.hint(change.name)}"
            if change.name in self._known:
                try:
                    self._known[change.name].check(_plain(change.value))
                except ConfigError as error:
                    return str(error)
        return ""

    def _answer_set(self, request: SetParameters.Request, response: SetParameters.Response) -> SetParameters.Response:
        """As rclpy does, each parameter by itself, but with an answer for values that are of no type at all."""
        response.results = [self._set([entry]) for entry in request.parameters]
        return response

    def _answer_set_atomically(
        self, request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        response.result = self._set(request.parameters)
        return response

    def _set(self, entries: Sequence[ParameterMessage]) -> SetParametersResult:
        changes = []
        for entry in entries:
            try:
                changes.append(RosParameter.from_parameter_msg(entry))
            except ValueError:
                text = (
                    f"parameter '{entry.name}': got a value of type {entry.value.type}; expected 1 (bool) to 9 (texts)"
                )
                return SetParametersResult(successful=False, reason=text)
        try:
            return self._node.set_parameters_atomically(changes)
        except Exception as error:  # whatever rclpy makes of it, the request is answered
            return SetParametersResult(successful=False, reason=reason(error))

    def _overrides(self) -> dict[str, RosParameter[Any]]:
        # No public way tells overrides of parameters that were never declared.
        return dict(getattr(self._node, "_parameter_overrides", {}))

    def _report_unknown(self) -> None:
        for name in self._overrides():
            if name not in self._known and not name.startswith(FOREIGN):
                self._complaints.report(name, f"unknown parameter '{name}' is ignored: {self.hint(name)}")

    def _on_set(self, changes: list[RosParameter[Any]]) -> SetParametersResult:
        values: dict[str, Any] = {}
        for change in changes:
            if change.name not in self._known:
                continue  # of rclpy: use_sim_time, qos_overrides
            known = self._known[change.name]
            try:
                value = known.check(_plain(change.value))
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if self.locked and not known.live:
                return SetParametersResult(
                    successful=False,
                    reason=f"parameter '{change.name}' is read-only while the node is configured: clean it up first "
                    f"(ros2 lifecycle set {self._node.get_fully_qualified_name()} deactivate, then cleanup), "
                    "set it, and configure again",
                )
            values[change.name] = value
        for name, value in values.items():
            self._refused.pop(name, None)
            self._complaints.settle(name)
            assign(self.config, name, value)
        if values and self._declared:
            self._changed(set(values))
        return SetParametersResult(successful=True)

    def hint(self, unknown: str) -> str:
        """What somebody may have meant who wrote an unknown name."""
        near = difflib.get_close_matches(unknown, self._known, n=3)
        return "did you mean " + " or ".join(near) + "?" if near else "see docs/parameters.md"

    def check(self) -> None:
        """Raise ConfigError when an override was refused, or parameters contradict each other."""
        if self._refused:
            raise ConfigError(next(iter(self._refused.values())))
        self.config.check()
        config = self.config
        odometry = [config.odometry_topic] if config.odometry_topic else []
        for topic in (*config.image_topics, *config.camera_info_topics, *config.depth_topics, *odometry):
            try:
                validate_topic_name(topic)
            except InvalidTopicNameException as error:
                why = " ".join(str(error).split())
                raise ConfigError("name of a topic", got=repr(topic), expected="a ROS name", next_step=why) from None


def _plain(value: Any) -> Any:
    """The value as a configuration takes it: lists instead of arrays, and no empty names."""
    if isinstance(value, (list, tuple)):
        return [item for item in value if item != ""]
    return value
