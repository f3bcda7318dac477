"""The old name of :mod:`bot.runtime.lock_store`."""

from bot.runtime.moved import moved

moved(__name__, "bot.runtime.lock_store")
