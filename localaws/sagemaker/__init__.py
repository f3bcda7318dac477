"""Amazon SageMaker: training jobs and endpoints whose containers are child processes.

Operations, statuses and shapes are those of
https://docs.aws.amazon.com/sagemaker/latest/APIReference/. What is given when a resource is made
comes back when it is described.
"""
