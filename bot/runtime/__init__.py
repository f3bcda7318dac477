"""All contact with what Rasa does not promise: its server, its stores, what of it is replaced."""
