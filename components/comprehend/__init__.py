"""An intent classifier that asks Amazon Comprehend's custom classification."""
