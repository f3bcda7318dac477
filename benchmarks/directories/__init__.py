"""Directories of other companies: whether their people and skills are found by the bot."""
