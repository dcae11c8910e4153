# SPDX-License-Identifier: Apache-2.0
"""
Build a copy of the checkout with colcon, start the installed node, and end it by SIGINT.

Passes when the node of the built copy (not the checkout's) reports the state active within the
time limit, ends with exit code 0 and leaves no traceback. Without rclpy only the build is checked.
"""
import importlib.util
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = Path(__file__).resolve().parent.parent
NODE = 'perception_node'
START_LIMIT_S = 120.0
END_LIMIT_S = 20.0


def main():
    """Build, start, stop; exit code 1 with the reason where something is missing."""
    with tempfile.TemporaryDirectory(prefix='crossview_colcon_') as folder:
        workspace = Path(folder)
        copy_checkout(workspace / 'src' / 'crossview_ros')
        subprocess.run([sys.executable, '-m', 'colcon', 'build', '--event-handlers',
                        'console_cohesion+'], cwd=workspace, check=True)
        environment = built_environment(workspace)
        require_built_package(workspace, environment)
        if importlib.util.find_spec('rclpy') is None:
            print('built; not started: rclpy is not installed')
            return
        elapsed_s = start_and_stop(workspace, environment)
        print(f'built node: active after {elapsed_s:.1f} s, ended by SIGINT with exit code 0')


def copy_checkout(target):
    """Copy what git tracks or would add: no build output, no virtual environment."""
    listing = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others',
                              '--exclude-standard'], cwd=ROOT, check=True, capture_output=True)
    for name in listing.stdout.decode().split('\0'):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def built_environment(workspace):
    """Return the environment of a shell that sourced the built workspace, and nothing else."""
    environment = dict(os.environ)
    if environment.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None):
        environment.pop('LD_LIBRARY_PATH', None)   # set by the ROS wheels for this process
    environment.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 101))
    environment.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    shell = subprocess.run(['bash', '-c', 'source install/setup.bash >&2 && env -0'],
                           cwd=workspace, env=environment, check=True, stdout=subprocess.PIPE)
    return dict(pair.split('=', 1) for pair in shell.stdout.decode().split('\0') if '=' in pair)


def require_built_package(workspace, environment):
    """Stop where Python would import the checkout instead of the built copy."""
    probe = subprocess.run([sys.executable, '-c', 'import crossview_ros as c; print(c.__file__)'],
                           cwd=workspace, env=environment, check=True, capture_output=True,
                           text=True)
    if not probe.stdout.startswith(str(workspace / 'install')):
        sys.exit(f'the built package is not the one imported: {probe.stdout.strip()}')


def start_and_stop(workspace, environment):
    """Return the seconds until the node was active."""
    executable = workspace / 'install' / 'crossview_ros' / 'lib' / 'crossview_ros' / NODE
    log_path = workspace / 'node.log'
    start_s = time.monotonic()
    with log_path.open('w') as log:
        node = subprocess.Popen([executable], cwd=workspace, env=environment, stdout=log,
                                stderr=subprocess.STDOUT)
        try:
            problem = wait_until_active(node, environment)
            elapsed_s = time.monotonic() - start_s
            node.send_signal(signal.SIGINT)
            status = node.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            status = f'missing {END_LIMIT_S:.0f} s'
        finally:
            node.kill()
    text = log_path.read_text()
    print(text, end='')
    if problem is None and status != 0:
        problem = f'exit code {status} after SIGINT'
    if problem is None and 'Traceback' in text:
        problem = 'a traceback in its output'
    if problem is not None:
        sys.exit(f'{NODE}: {problem}')
    return elapsed_s


def wait_until_active(node, environment):
    """Return None once the node's lifecycle state is active, or what went wrong."""
    os.environ.update({key: environment[key] for key in environment if key.startswith('ROS_')})
    from lifecycle_msgs.srv import GetState
    import rclpy
    rclpy.init()
    asker = rclpy.create_node('built_node_check')
    client = asker.create_client(GetState, f'/{NODE}/get_state')
    try:
        end_s = time.monotonic() + START_LIMIT_S
        state = 'no answer'
        while time.monotonic() < end_s:
            if node.poll() is not None:
                return f'ended by itself with exit code {node.returncode}'
            if client.wait_for_service(0.5):
                answer = client.call_async(GetState.Request())
                rclpy.spin_until_future_complete(asker, answer, timeout_sec=2.0)
                state = answer.result().current_state.label if answer.done() else state
            if state == 'active':
                return None
        return f'not active after {START_LIMIT_S:.0f} s: {state}'
    finally:
        asker.destroy_node()
        rclpy.shutdown()


if __name__ == '__main__':
    main()
