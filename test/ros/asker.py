# SPDX-License-Identifier: Apache-2.0
"""A client of the services of a live node."""
import time

from crossview_ros.ros.session import NodeSession
from lifecycle_msgs.srv import ChangeState, GetState
from live_node import LIMIT_S
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter


class Asker(NodeSession):
    """Calls services of a live node."""

    def __init__(self, live):
        """Remember whom to ask."""
        super().__init__('asker', live.namespace, spin=True)
        self._name = live.name

    def begin(self, service, kind, request):
        """Send a request; return the future."""
        client = self.node.create_client(kind, f'{self._name}/{service}')
        assert client.wait_for_service(LIMIT_S)
        return client.call_async(request)

    def ask(self, service, kind, request):
        """Send a request; return the answer."""
        return until_done(self.begin(service, kind, request))

    def state(self):
        """Return the label of the lifecycle state."""
        return self.ask('get_state', GetState, GetState.Request()).current_state.label

    def begin_change(self, transition_id):
        """Ask for a transition; return the future."""
        request = ChangeState.Request()
        request.transition.id = transition_id
        return self.begin('change_state', ChangeState, request)

    def change(self, transition_id):
        """Ask for a transition; tell whether it worked."""
        return until_done(self.begin_change(transition_id)).success

    def set(self, **values):   # noqa: A003 - the word of ROS
        """Set parameters; return the results."""
        parameters = [Parameter(name, value=value).to_parameter_msg()
                      for name, value in values.items()]
        return self.ask('set_parameters', SetParameters,
                        SetParameters.Request(parameters=parameters)).results


def until_done(future):
    """Wait for the answer of a service."""
    deadline_s = time.monotonic() + LIMIT_S
    while not future.done():
        assert time.monotonic() < deadline_s, 'no answer from the service'
        time.sleep(0.005)
    return future.result()
