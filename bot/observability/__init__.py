"""What happens in the two servers, for those who run them: spans, metrics, logs.

Code says what it does in :mod:`~bot.observability.steps`; Rasa's is made to do so by
:mod:`~bot.observability.rasa_steps`. What is switched on in the environment
(:mod:`~bot.observability.setup`) makes spans (:mod:`~bot.observability.spans`) or metrics
(:mod:`~bot.observability.metrics`) of it, and is not imported otherwise. docs/observability.md
lists them all.

No step knows what a user has written, or whom an answer is about.
"""
