"""Amazon Comprehend: custom classification that learns."""
