# SPDX-License-Identifier: Apache-2.0
"""
Give Fast DDS shared memory that holds images, before the process takes part in ROS.

With its default segment of 512 KB a best-effort subscriber on the same machine loses most images
of 640x480 and more; with the segment of this profile it got all of 1280x720. The segment belongs
to the process that publishes.
"""
import os
from pathlib import Path
import shutil
import tempfile

SEGMENT_BYTES = 32 << 20
SMALLEST_SEGMENT_BYTES = 2 << 20
SHARED_MEMORY = Path('/dev/shm')
# Fast DDS 2 reads the first; Fast DDS 3 the second, and complains about the first
PROFILE_NAMES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
FAST_DDS_2_DISTROS = ('humble', 'iron', 'jazzy')
# Any of these means that the user has decided about transports.
USER_SETTINGS = (*PROFILE_NAMES, 'FASTDDS_BUILTIN_TRANSPORTS', 'SKIP_DEFAULT_XML')

_PROFILE = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>
      <segment_size>{segment_bytes}</segment_size>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>network</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_messages" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>shared_memory</transport_id>
        <transport_id>network</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
    </rtps>
  </participant>
</profiles>
"""


class LargeMessages:
    """
    A context in which a participant that this process makes has the larger segment.

    Fast DDS reads its profile once, when the first participant is made. Without effect for
    another middleware, where the user has set transports, and where shared memory is scarce.
    """

    def __init__(self) -> None:
        """Change nothing yet."""
        self._folder: tempfile.TemporaryDirectory | None = None
        distro = os.environ.get('ROS_DISTRO')   # the wheels do not set it
        self._names = PROFILE_NAMES if not distro else \
            (PROFILE_NAMES[distro not in FAST_DDS_2_DISTROS],)

    def __enter__(self) -> 'LargeMessages':
        """Write the profile and point Fast DDS at it."""
        segment_bytes = _affordable_bytes()
        if segment_bytes and _is_ours_to_choose():
            self._folder = tempfile.TemporaryDirectory(prefix='crossview_dds_')
            profile = Path(self._folder.name) / 'profile.xml'
            profile.write_text(_PROFILE.format(segment_bytes=segment_bytes), encoding='utf-8')
            os.environ.update(dict.fromkeys(self._names, str(profile)))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the profile: processes started from here choose for themselves."""
        if self._folder is not None:
            for name in self._names:
                del os.environ[name]
            self._folder.cleanup()
            self._folder = None


def _is_ours_to_choose() -> bool:
    middleware = os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp'
    return middleware.startswith('rmw_fastrtps') \
        and not any(os.environ.get(name) for name in USER_SETTINGS)


def _affordable_bytes() -> int:
    """Return the segment size; 0 where a quarter of the free shared memory is too little."""
    if not SHARED_MEMORY.is_dir():
        return 0
    segment_bytes = min(SEGMENT_BYTES, shutil.disk_usage(SHARED_MEMORY).free // 4)
    return segment_bytes if segment_bytes >= SMALLEST_SEGMENT_BYTES else 0
