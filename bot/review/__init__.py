"""The loop that makes the bot better: what people asked and it did not know, labelled by a person.

Questions come out of the stored conversations without saying whose they are (:mod:`.questions`),
personal data are replaced before anybody sees them (:mod:`.anonymise`), a person labels them in the
terminal (:mod:`.labelling`) or in a spreadsheet (:mod:`.sheet`), and what comes of it goes to the
dataset (:mod:`.review`).
"""
