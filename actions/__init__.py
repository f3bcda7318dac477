"""The custom actions: `python -m bot.action_server` finds every `Question` in here.

Nothing is imported at this level, so that the directory can be used without Rasa's SDK.
"""
