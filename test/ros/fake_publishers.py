# SPDX-License-Identifier: Apache-2.0
"""Publishers that keep what they get, and a node that makes them."""


class FakePublisher:
    """Records messages; has as many subscribers as it is told."""

    def __init__(self, kind, topic, subscribers, profile):
        """Record nothing yet."""
        self.kind, self.topic_name, self.profile = kind, topic, profile
        self.subscribers, self.messages = subscribers, []

    def get_subscription_count(self):
        """Return what was told."""
        return self.subscribers

    def publish(self, message):
        """Record."""
        self.messages.append(message)


class FakeNode:
    """Makes fake publishers."""

    def __init__(self, listened_to):
        """Give subscribers to these topics."""
        self.listened_to, self.publishers = listened_to, {}

    def create_lifecycle_publisher(self, kind, topic, profile, **_):
        """Return a fake publisher."""
        self.publishers[topic] = FakePublisher(
            kind, topic, int(topic in self.listened_to), profile)
        return self.publishers[topic]
