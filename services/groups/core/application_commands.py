"""What may happen to the commands that a bot offers: everywhere, or in one group. A *scope* is one of these lists.

Ring 1 (core). As Discord has it: a name is unique among those of its type, and a command made under the name of
another takes its place and its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from shared.core.account_errors import TooManyApplicationCommands, UnknownApplicationCommand
from shared.core.errors import InvalidForm
from shared.core.model import ApplicationCommand

MOST: Final[Mapping[int, int]] = {1: 100, 2: 15, 3: 15}
"""How many commands of each type a scope may have: by name, of a user, of a message."""
BY_NAME: Final = 1
MAX_CHARACTERS: Final = 8_000
"""Names, descriptions and values of one command, translations aside."""
SCOPE_BYTES: Final = 1024 * 1024
"""All of a scope as JSON: it is one document."""
_SUBCOMMAND: Final = 1
_GROUP: Final = 2
_EVERYWHERE: Final[Mapping[str, Any]] = {"dm_permission": True}

Commands = tuple[ApplicationCommand, ...]
_encode: Final = msgspec.json.Encoder().encode


def create(commands: Commands, new_id: int, given: Mapping[str, Any]) -> tuple[Commands, ApplicationCommand]:
    """Return the scope with one more command, or with another in the place of that of the same type and name.

    `given`: Discord's fields. Raises `InvalidForm`, `TooManyApplicationCommands`.
    """
    made = _command_of(new_id, new_id, given)
    same = _named(commands, made)
    if same is not None:
        made = msgspec.structs.replace(made, id=same.id)
    kept = tuple(one for one in commands if one.id != made.id)
    return require_room((*kept, made)), made


def change(
    commands: Commands, command_id: int, version: int, given: Mapping[str, Any]
) -> tuple[Commands, ApplicationCommand]:
    """Return the scope with a command changed; what is not given stays, and so does its type.

    Raises `UnknownApplicationCommand`, `InvalidForm`.
    """
    before = require(commands, command_id)
    name = given.get("name", before.name)
    changed = _command_of(before.id, version, {**before.fields, **given, "name": name, "type": before.kind})
    same = _named(commands, changed)
    if same is not None and same.id != before.id:
        raise _duplicate("name")
    return require_room(tuple(changed if one.id == before.id else one for one in commands)), changed


def overwrite(commands: Commands, ids: Sequence[int], given: Sequence[Mapping[str, Any]]) -> Commands:
    """Return a scope of these commands alone; those whose type and name are known keep their ids. `ids`: new ones.

    What is the same as before keeps its version, too. Raises `InvalidForm`, `TooManyApplicationCommands`.
    """
    made: list[ApplicationCommand] = []
    for index, (new_id, fields) in enumerate(zip(ids, given, strict=True)):
        one = _command_of(new_id, new_id, fields, f"{index}.")
        if _named(made, one) is not None:
            raise _duplicate(f"{index}.name")
        before = _named(commands, one)
        if before is not None:
            is_same = before.fields == one.fields
            one = msgspec.structs.replace(one, id=before.id, version=before.version if is_same else new_id)
        made.append(one)
    return require_room(tuple(made))


def delete(commands: Commands, command_id: int) -> Commands:
    """Return the scope without a command. Raises `UnknownApplicationCommand`."""
    gone = require(commands, command_id)
    return tuple(one for one in commands if one is not gone)


def require(commands: Commands, command_id: int) -> ApplicationCommand:
    """Return a command of a scope. Raises `UnknownApplicationCommand`."""
    found = next((one for one in commands if one.id == command_id), None)
    if found is None:
        raise UnknownApplicationCommand
    return found


def require_room(commands: Commands) -> Commands:
    """Return the commands if a scope may have so many. Raises `TooManyApplicationCommands`, `InvalidForm`."""
    for kind, most in MOST.items():
        if sum(one.kind == kind for one in commands) > most:
            raise TooManyApplicationCommands(f"Maximum number of application commands reached ({most})")
    if len(_encode(commands)) > SCOPE_BYTES:
        raise _too_large("")
    return commands


def _named(commands: Sequence[ApplicationCommand], like: ApplicationCommand) -> ApplicationCommand | None:
    return next((one for one in commands if (one.kind, one.name) == (like.kind, like.name)), None)


def _command_of(command_id: int, version: int, given: Mapping[str, Any], at: str = "") -> ApplicationCommand:
    """Return the command of these fields, `at`: their place in the request. Raises `InvalidForm`."""
    fields = {**_EVERYWHERE, **given}
    name, kind = fields.pop("name"), fields.pop("type", BY_NAME)
    description = fields.setdefault("description", "")
    options = fields.get("options") or []
    if kind == BY_NAME:
        _require_callable(name, f"{at}name")
        if not description:
            raise InvalidForm({f"{at}description": [("BASE_TYPE_REQUIRED", "This field is required")]})
        _require_options(options, f"{at}options", (_SUBCOMMAND, _GROUP))
    else:
        if description:
            raise _wrong(f"{at}description", "APPLICATION_COMMAND_INVALID", "Must be empty for this type of command.")
        if options:
            raise _wrong(f"{at}options", "APPLICATION_COMMAND_INVALID", "This type of command has no options.")
    if len(name) + len(description) + sum(map(_characters_of, options)) > MAX_CHARACTERS:
        raise _too_large(at.removesuffix("."))
    return ApplicationCommand(command_id, version, kind, name, fields)


def _require_options(options: Sequence[Mapping[str, Any]], at: str, nested: tuple[int, ...]) -> None:
    """Hold options to Discord's rules: names are unique, only subcommands and their groups hold others."""
    names = set()
    for index, option in enumerate(options):
        place, kind, inner = f"{at}.{index}", option["type"], option.get("options") or []
        _require_callable(option["name"], f"{place}.name")
        if option["name"] in names:
            raise _wrong(f"{place}.name", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name is taken.")
        names.add(option["name"])
        is_nest = kind in (_SUBCOMMAND, _GROUP)
        if is_nest and (kind not in nested or len({one["type"] in (_SUBCOMMAND, _GROUP) for one in options}) > 1):
            raise _wrong(f"{place}.type", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Not here.")
        if inner and not is_nest:
            raise _wrong(
                f"{place}.options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Only subcommands have options."
            )
        _require_options(inner, f"{place}.options", (_SUBCOMMAND,) if kind == _GROUP else ())


def _require_callable(name: str, at: str) -> None:
    """Refuse what Discord does not take as the name of something to call."""
    letters = name.replace("-", "").replace("_", "").replace("'", "")
    is_word = all(letter.isalnum() or not letter.isascii() for letter in letters) and name.isprintable()
    if not name or not is_word or name != name.lower() or " " in name:
        raise _wrong(at, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _characters_of(option: Mapping[str, Any]) -> int:
    own = len(option["name"]) + len(option["description"])
    choices = sum(len(one["name"]) + len(str(one["value"])) for one in option.get("choices") or ())
    return own + choices + sum(map(_characters_of, option.get("options") or ()))


def _wrong(at: str, code: str, text: str) -> InvalidForm:
    return InvalidForm({at: [(code, text)]})


def _duplicate(at: str) -> InvalidForm:
    return _wrong(at, "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")


def _too_large(at: str) -> InvalidForm:
    return _wrong(at, "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({MAX_CHARACTERS})")
