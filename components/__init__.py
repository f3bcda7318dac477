"""Custom Rasa NLU components; one module (or package) a component."""
