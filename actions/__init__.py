"""The custom actions: `python -m actions.server` finds every `Question` in here.

Nothing is imported at this level, so that the directory can be used without Rasa's SDK.
"""
