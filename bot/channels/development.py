"""The old name of :mod:`bot.channels.open_rest`."""

from bot.runtime.moved import moved

moved(__name__, "bot.channels.open_rest")
