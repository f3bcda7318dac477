"""The old name of :mod:`bot.channels.web_client`."""

from bot.runtime.moved import moved

moved(__name__, "bot.channels.web_client")
