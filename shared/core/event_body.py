"""What the body of every event is.

Ring 1 (core).
"""

import msgspec


class Body(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """Base of all event bodies; the tag `t` names the kind in storage and on the bus."""
