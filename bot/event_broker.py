"""The old name of :mod:`bot.runtime.event_broker`."""

from bot.runtime.moved import moved

moved(__name__, "bot.runtime.event_broker")
