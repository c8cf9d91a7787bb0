"""What a user may tell of itself, and what a change of it is.

Ring 1 (core). Refusals are Discord's "Invalid Form Body" with its codes. Usernames are `names`' business.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.core.errors import InvalidForm
from shared.core.group_events import MemberChanged
from shared.core.model import Member, User
from shared.core.titles import require_title
from shared.core.user_events import UserChanged

GLOBAL_NAME_LENGTH: Final = (1, 32)
BIO_LENGTH: Final = 190


class ProfileChange(msgspec.Struct, frozen=True):
    """What is to be other than before; what is unset stays. `global_name` None: the username is shown."""

    username: str | msgspec.UnsetType = msgspec.UNSET
    global_name: str | msgspec.UnsetType | None = msgspec.UNSET
    bio: str | msgspec.UnsetType = msgspec.UNSET


def require_global_name(name: str | None) -> str | None:
    """Return the shown name as it is kept; an empty one is none. Raises `InvalidForm`."""
    return require_title("global_name", name, GLOBAL_NAME_LENGTH) if name and name.strip() else None


def require_bio(bio: str) -> str:
    """Return the text unchanged. Raises `InvalidForm`."""
    if len(bio) > BIO_LENGTH:
        reason = ("BASE_TYPE_MAX_LENGTH", f"Must be {BIO_LENGTH} or fewer in length.")
        raise InvalidForm({"bio": [reason]})
    return bio


def decide_profile(user: User, bio: str, owner: int, change: ProfileChange) -> UserChanged | None:
    """Return what a change makes of a user; None if the user is so already."""
    new_bio = bio if change.bio is msgspec.UNSET else change.bio
    changed = msgspec.structs.replace(
        user,
        username=user.username if change.username is msgspec.UNSET else change.username,
        global_name=user.global_name if change.global_name is msgspec.UNSET else change.global_name,
    )
    return None if (changed, new_bio) == (user, bio) else UserChanged(changed, new_bio, owner)


def decide_gone(user: User) -> UserChanged:
    """Return what is left of a user whose account is deleted: an id, and that it was a bot if so."""
    return UserChanged(User(user.id, f"deleted_user_{user.id}", bot=user.bot), gone=True)


def decide_rename_member(member: Member | None, user: User) -> MemberChanged | None:
    """Return what a member's group hears when the user is called so now; None if it knows, or there is no member."""
    if member is None or member.user == user:
        return None
    return MemberChanged(msgspec.structs.replace(member, user=user))
