"""Reads the descriptions of a deployment (Dockerfile, docker-compose.yml, deploy/k8s) as data, for the tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from shared.settings import Settings

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "deploy" / "k8s"
TEMPLATE = K8S / "secrets.example.yaml"

ENVIRONMENT = {"STARLING_AUTH__SECRET": "s" * 32, "RABBITMQ_PASSWORD": "rabbit"}
"""What docker-compose.yml demands of who starts it."""
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^{}]*))?\}")


class VariableMissing(Exception):
    """A variable that the compose file demands is not set; the text is what Compose would say."""


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into a text of a compose file, the inner ones first, as the Compose Specification says.

    Raises `VariableMissing`.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise VariableMissing(f"{name}: {rest}")
        return rest or ""

    while _VARIABLE.search(text):
        text = _VARIABLE.sub(value, text)
    return text.replace("$$", "$")


def read_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return docker-compose.yml as Compose would see it: read first, then each text interpolated."""

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(value) for key, value in part.items()}
        if isinstance(part, list):
            return [filled(value) for value in part]
        return interpolated(part, variables) if isinstance(part, str) else part

    found: dict[str, Any] = filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
    return found


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    """Return every Kubernetes object of deploy/k8s, the template of the secrets included."""
    return tuple(
        one
        for path in sorted(K8S.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for one in yaml.safe_load_all(path.read_text())
    )


def manifest(kind: str, name: str) -> dict[str, Any]:
    """Return one object. Raises `ValueError` unless there is exactly one."""
    (found,) = (one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: its word, its text, and the number of its stage."""

    word: str
    text: str
    stage: int

    @property
    def arguments(self) -> list[str]:
        """The words of the text without its options."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]


def read_dockerfile() -> list[Instruction]:
    """Return the instructions in order, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    instructions: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, text = line.split(maxsplit=1)
            stage += word == "FROM"
            instructions.append(Instruction(word, text, stage))
    return instructions


def setting_names(model: type[BaseModel] = Settings, prefix: str = "STARLING_") -> Iterator[str]:
    """Yield the environment variable of each setting there is."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_names(inner, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def seconds_of(text: str) -> float:
    """Return the seconds of a duration in Compose's or nginx's writing: 70s, 2m, 1h."""
    number, unit = re.fullmatch(r"(\d+)([smh])", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]
