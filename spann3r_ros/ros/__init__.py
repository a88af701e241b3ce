"""The ROS 2 node: topics, services, parameters, time. No arithmetic on matrices."""
