"""Retraining without a hand: a dataset in S3 ends in a live endpoint, or in a notice that says why.

Three Lambda functions (:mod:`bot.retraining.handlers`), one code base for Amazon Comprehend and for
CamemBERT on Amazon SageMaker; without AWS a loop on this machine takes their place
(:mod:`bot.retraining.local`). Nothing here imports Rasa; Python 3.10 to 3.13.
"""
