"""The French-language skills bot: command line, dataset, evaluation and server."""
