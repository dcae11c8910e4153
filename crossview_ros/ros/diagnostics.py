# SPDX-License-Identifier: Apache-2.0
"""Findings about the node as messages on /diagnostics."""
from collections.abc import Iterable

from crossview_ros.ros import qos
from crossview_ros.ros.health import ERROR, Health, OK, WARN
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

# `level` is a byte: an int is taken and published as garbage
LEVELS = {OK: DiagnosticStatus.OK, WARN: DiagnosticStatus.WARN, ERROR: DiagnosticStatus.ERROR}


class DiagnosticsPublisher:
    """Publishes findings under the name of the node, which is unique with its namespace."""

    def __init__(self, node: Node) -> None:
        """Advertise; not a lifecycle publisher, since it speaks in every state."""
        self._node = node
        self._prefix = node.get_fully_qualified_name().lstrip('/')
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', qos.diagnostics())

    def publish(self, findings: Iterable[Health], hardware_id: str) -> None:
        """Publish all findings with the time of now."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = [
            DiagnosticStatus(
                level=LEVELS[finding.level], name=f'{self._prefix}: {finding.task}',
                message=finding.message, hardware_id=hardware_id,
                values=[KeyValue(key=key, value=value)
                        for key, value in finding.values.items()])
            for finding in findings]
        self._publisher.publish(message)
