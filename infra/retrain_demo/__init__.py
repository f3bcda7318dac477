"""``make retrain-demo``: retraining without any cloud, seen from a bot that runs all the time."""
