"""The ground floor: what every package may use. It imports nothing else of the project."""
