"""Names that users' files have from earlier releases."""

from __future__ import annotations

import sys

import pytest
from rasa.shared.utils.common import class_from_module_path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bot.tracker_store.QuickSqlTrackerStore", "bot.runtime.tracker_store"),
        ("bot.lock_store.FairRedisLockStore", "bot.runtime.lock_store"),
        ("bot.event_broker.OptionalRabbitMQ", "bot.runtime.event_broker"),
        ("bot.channels.client.WebClient", "bot.channels.web_client"),
        ("bot.channels.development.OpenRest", "bot.channels.open_rest"),
    ],
)
def test_an_old_name_works_and_says_the_new_one(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = old.rpartition(".")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    assert class_from_module_path(old).__module__ == new
    assert f"{module} is now {new}" in caplog.text
