"""AWS Lambda: functions that run in child processes."""
