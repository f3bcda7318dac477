"""The old name of :mod:`bot.runtime.tracker_store`."""

from bot.runtime.moved import moved

moved(__name__, "bot.runtime.tracker_store")
