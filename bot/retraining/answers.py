"""What the steps of a retraining answer to the state machine."""

from __future__ import annotations

import dataclasses

# AWS's codes of a quota of the account that is used up: it may be free again in an hour, and in a
# new account somebody has to ask for it.
QUOTAS = {"ResourceLimitExceeded", "ResourceLimitExceededException", "LimitExceededException"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the state machine gets, see :mod:`bot.retraining.handlers`."""

    run_id: str
    stage: str
    status: str
    subject: str = ""
    message: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the answer as the Lambda returns it."""
        return dataclasses.asdict(self)
