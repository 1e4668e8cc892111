"""The typed result that a step writes, exactly one, into its guest's folder; later steps read it from there."""

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hikkoshi import files
from hikkoshi.errors import BadInput, Problem, Refused
from hikkoshi.run.step import Step


class Frozen(BaseModel):
    """Base of results and their parts: nothing unknown is taken, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def unsaid(default: Any) -> Any:
    """A field that was added later: left out where it says no more than its default, so older files keep their hash."""
    return Field(default=default, exclude_if=lambda value: value == default)


class Artefact(Frozen):
    """Base of the results; `filename` is fixed by kind, `made_by` is the step that writes it."""

    filename: ClassVar[str]
    made_by: ClassVar[Step]

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The result in a guest's folder, or None where the step has not been run."""
        path = folder / cls.filename
        try:
            return cls.model_validate_json(files.read(path))
        except FileNotFoundError:
            return None
        except OSError as e:
            remedy = f"see who put it there, remove it, and run {cls.made_by} again"
            raise BadInput(
                Problem(
                    code="result-unreadable",
                    what="an earlier step's result cannot be read",
                    where=str(path),
                    found=e.strerror or str(e),
                    expected="a regular file",
                    remedy=remedy,
                )
            ) from None
        except ValidationError as e:
            raise BadInput(
                Problem(
                    code="result-unreadable",
                    what="an earlier step's result cannot be read",
                    where=str(path),
                    found="; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors()[:5]),
                    expected=f"the result as {cls.made_by} of this version writes it",
                    remedy=f"move it away, and run {cls.made_by} again",
                )
            ) from None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The result in a guest's folder; `Refused` where the step has not been run."""
        found = cls.find(folder)
        if found is None:
            command = f"hikkoshi run {folder.name} --only {cls.made_by.number}"
            raise Refused(
                Problem(
                    code="result-missing",
                    what="an earlier step's result is missing",
                    where=str(folder / cls.filename),
                    expected=f"the result of {cls.made_by}",
                    remedy=f"run {cls.made_by} first: {command}{'' if cls.made_by.read_only else ' --apply'}",
                )
            )
        return found

    def text(self) -> str:
        """What its file holds."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, folder: Path) -> Path:
        """Write it atomically; returns the path."""
        path = folder / self.filename
        files.write(path, self.text())
        return path
