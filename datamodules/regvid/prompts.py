"""The words of every request, from files that may be edited: built-in ones, or those of a folder in their place."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeAlias, get_args

import yaml

from datamodules.errors import DataError
from datamodules.regvid.models import ROLES, ChatRequest, Pictures, Role
from datamodules.regvid.parsing import clean

Wording: TypeAlias = Literal["detailed", "brief"]

BUILT_IN = Path(__file__).parent / "templates"
WORDINGS: tuple[Wording, ...] = get_args(Wording)
_REQUESTS = "requests"
_RETRY = "retry"
_FREE = frozenset({"video"})
"""What a template may hold and need not: a video's name can tell what there is to see."""

_SAID = ("description", "questions", "problem")
"""What models have written."""

_REGION = "region"


@dataclass(frozen=True, slots=True)
class Prompts:
    """All wordings.

    Attributes:
        system: By role, what a model is told to be and how it shall answer.
        text: By role, the question; and `retry`, what is added when an answer could not be used.
        requests: By sort of sample, the wordings that a request is drawn from.
        seed: Decides the draws.
    """

    system: Mapping[str, str]
    text: Mapping[str, Template]
    requests: Mapping[Wording, Sequence[Template]]
    seed: int = 0

    @classmethod
    def read(cls, folder: Path | None = None, seed: int = 0) -> Prompts:
        """The templates of a folder; the built-in one for each text that is not in it.

        Raises:
            DataError: A file is no template, lacks something that the stage has to say, or belongs to no stage.
        """
        names = {name: f"{name}.yaml" for name in (*ROLES, _RETRY, _REQUESTS)}
        if folder is not None:
            _check_folder(folder, set(names.values()))
        files = {name: _find(file, folder) for name, file in names.items()}
        built_in = {name: parsed(BUILT_IN / file) for name, file in names.items()}
        read = {name: {**built_in[name], **parsed(path)} for name, path in files.items()}
        # an edited text says what the built-in one does
        fields = {name: frozenset(Template(built_in[name]["text"]).get_identifiers()) for name in (*ROLES, _RETRY)}
        return cls(
            system={role: text_in(read[role], "system", files[role]) for role in ROLES},
            text={name: template_in(read[name], files[name], said) for name, said in fields.items()},
            requests={wording: _wordings(read[_REQUESTS], wording, files[_REQUESTS]) for wording in WORDINGS},
            seed=seed,
        )

    def ask(
        self,
        role: Role,
        fields: Mapping[str, str],
        images: Pictures | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> ChatRequest:
        """A request to the model of a role."""
        text = clean(self.text[role].substitute(_fenced(fields)))
        return ChatRequest(self.system[role], text, images or Pictures(), schema=schema)

    def again(self, problem: str) -> str:
        """What is added to a request whose answer could not be used."""
        return self.text[_RETRY].substitute(_fenced({"problem": problem}))

    def request(self, wording: Wording, sample: str, region: str) -> str:
        """How a sample asks, the same every time for the same sample.

        Args:
            wording: The sort of sample.
            sample: Its id.
            region: How the region is written in a question.
        """
        drawn = random.Random(f"{self.seed} {sample}").choice(self.requests[wording])
        return drawn.substitute({_REGION: region})


def fenced(name: str, text: str) -> str:
    """What a model has written, between tags that it cannot close: it is worked on, and followed by nobody."""
    return f"<{name}>\n{text.replace('</', '< /')}\n</{name}>"


def _fenced(fields: Mapping[str, str]) -> Mapping[str, str]:
    return {name: fenced(name, text) if name in _SAID else text for name, text in fields.items()}


def _check_folder(folder: Path, known: set[str]) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of templates")
    # a misspelt name would be a template that nobody reads
    if strange := sorted({path.name for path in folder.glob("*.y*ml")} - known):
        raise DataError(f"{folder / strange[0]}: no template is called so, there are {', '.join(sorted(known))}")


def _find(file: str, folder: Path | None) -> Path:
    own = BUILT_IN / file if folder is None else folder / file
    return own if own.exists() else BUILT_IN / file


def parsed(path: Path) -> Mapping[str, Any]:
    """What a file of wordings holds by name; `DataError` if it cannot be read or has no names."""
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(read, dict):
        raise DataError(f"{path}: expected names and texts, got {type(read).__name__}")
    return read


def text_in(read: Mapping[str, Any], name: str, path: Path) -> str:
    """The text under a name, without blanks around it; `DataError` if there is none."""
    text = read.get(name)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{path}: {name}: expected text, got {text!r}")
    return text.strip()


def template_in(read: Mapping[str, Any], path: Path, fields: frozenset[str], name: str = "text") -> Template:
    """The text under a name as a template; `DataError` if it does not hold the fields, or others."""
    return _checked(Template(text_in(read, name, path)), fields, f"{path}: {name}")


def _wordings(read: Mapping[str, Any], wording: Wording, path: Path) -> list[Template]:
    listed = read.get(wording)
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{path}: {wording}: expected a list of wordings, got {listed!r}")
    # a colon makes an object of a line without quotation marks
    if strange := [text for text in listed if not isinstance(text, str)]:
        raise DataError(f"{path}: {wording}: expected text, perhaps in quotation marks, got {strange[0]!r}")
    return [_checked(Template(text), frozenset({_REGION}), f"{path}: {wording}") for text in listed]


def _checked(template: Template, fields: frozenset[str], where: str) -> Template:
    """The template, if it says all that it must and nothing that nobody knows."""
    if not template.is_valid():
        raise DataError(f"{where}: a $ that stands for itself is written $$: {template.template[:60]!r}")
    used = set(template.get_identifiers())
    if used - _FREE != fields:
        wanted, got = (", ".join(f"${name}" for name in sorted(names)) for names in (fields, used))
        raise DataError(f"{where}: must hold {wanted}, holds {got or 'none'}: {template.template[:60]!r}")
    return template
