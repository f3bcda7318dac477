"""What our Rasa components share: configuration, creation, and reading back what was trained."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.shared.exceptions import InvalidConfigException, RasaException

from common.config import ConfigError, Rule, check_config
from common.errors import UserError

logger = logging.getLogger(__name__)

# What reading a damaged file of ours raises.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError)

_VERSION = "format_version"

_Trainable = TypeVar("_Trainable", bound="TrainableComponent")
_Record = TypeVar("_Record")


class TrainingError(RasaException):
    """A component cannot be trained; the message says what to change."""


class MissingPackageError(RasaException):
    """A trained component needs a package that is not installed; the message names it."""


class DamagedModelError(RasaException):
    """A trained component cannot be read back; the message names the file and the way out."""


@contextlib.contextmanager
def rasa_errors() -> Iterator[None]:
    """Raise errors that a user can mend as Rasa's, which ``rasa`` prints without a traceback.

    Raises:
        InvalidConfigException: For a :class:`ConfigError`.
        TrainingError: For any other :class:`UserError`.
    """
    try:
        yield
    except ConfigError as error:
        raise InvalidConfigException(str(error)) from error
    except UserError as error:
        raise TrainingError(str(error)) from error


def source_fingerprint(*names: str, facts: tuple[object, ...] = ()) -> str:
    """Return a digest of modules' sources, which Rasa's own fingerprint does not see.

    Args:
        names: Full names of modules; a package stands for the modules directly in it.
        facts: What decides the result of a training besides.
    """
    digest = hashlib.sha256(repr(facts).encode())
    for name in names:
        for path in _sources(name):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"There is no module '{name}' to take a fingerprint of.")
    path = Path(spec.origin)
    return [path] if spec.submodule_search_locations is None else sorted(path.parent.glob("*.py"))


def write_record(path: Path, record: Any, version: int) -> None:
    """Write a dataclass, of JSON types only, and the version of its format to ``path``."""
    content = {_VERSION: version, **dataclasses.asdict(record)}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def read_record(path: Path, kind: type[_Record], version: int) -> _Record:
    """Read a dataclass ``kind`` from ``path``.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content.pop(_VERSION)
        if found == version:
            return kind(**content)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is damaged ({error!r})") from error
    raise ValueError(f"{path.name} has format version {found}, {version} is expected")


class Component(GraphComponent):
    """A component whose configuration is checked against :attr:`RULES`."""

    RULES: ClassVar[Mapping[str, Rule]]

    @classmethod
    def validate_config(cls, config: dict[str, Any]) -> None:
        """Check a configuration; keys that it lacks have their defaults.

        Raises:
            InvalidConfigException: With every fault, and what to write instead.
        """
        with rasa_errors():
            cls._check(cls.complete(config))

    @classmethod
    def complete(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration with the defaults of the keys that it lacks."""
        return {**cls.get_default_config(), **config}

    @classmethod
    def _check(cls, config: dict[str, Any]) -> None:
        """Check a complete configuration; may raise a :class:`ConfigError`."""
        check_config(cls.__name__, config, cls.RULES)


class TrainableComponent(Component, abc.ABC):
    """A component that is trained, stored and read back.

    Attributes:
        FILES: What training stores, for the message where it cannot be read back.
        config: The complete configuration.
    """

    FILES: ClassVar[tuple[str, ...]]

    def __init__(
        self, config: dict[str, Any], model_storage: ModelStorage, resource: Resource
    ) -> None:
        """Create an untrained component.

        Raises:
            InvalidConfigException: See :meth:`validate_config`.
        """
        self.validate_config(config)
        self.config = self.complete(config)
        self._model_storage = model_storage
        self._resource = resource
        # Whether training goes on from what was read back (``rasa train --finetune``).
        self._finetuning = False

    @classmethod
    def create(
        cls: type[_Trainable],
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> _Trainable:
        """Create an untrained component (see parent class)."""
        return cls(config, model_storage, resource)

    @classmethod
    def load(
        cls: type[_Trainable],
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> _Trainable:
        """Load a trained component.

        Raises:
            DamagedModelError: The stored files are damaged or of another version.
            MissingPackageError: A package that serving needs is not installed.
        """
        component = cls(config, model_storage, resource)
        try:
            with model_storage.read_from(resource) as folder, component._damage():
                component._read(folder)
        except ValueError:  # Rasa's way to say that the resource does not exist.
            component._nothing_stored()
            return component
        component._finetuning = execution_context.is_finetuning
        return component

    @abc.abstractmethod
    def _read(self, folder: Path) -> None:
        """Take up what training has stored in ``folder``.

        Damage may be raised as it comes, or as a :class:`UserError` with the whole message.
        """

    def _nothing_stored(self) -> None:
        """Say that training has stored nothing, or raise."""
        logger.warning(
            f"{type(self).__name__} has no trained model ('{self._resource.name}' is missing) and "
            "will find nothing. Train one with `rasa train`."
        )

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise DamagedModelError(str(error)) from error
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"{type(self).__name__} needs the package {error.name}, which is not installed: "
                "pip install skills-bot (in a checkout: make setup)."
            ) from error
        except _DAMAGE as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def _damaged(self, reason: str) -> DamagedModelError:
        return DamagedModelError(
            f"{type(self).__name__}: the model part '{self._resource.name}' "
            f"({', '.join(self.FILES)}) cannot be used: {reason}. Train the model again with "
            "`rasa train --force`."
        )
