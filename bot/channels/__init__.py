"""The bot's own Rasa channels; ``credentials.yml`` names them by their module path."""
