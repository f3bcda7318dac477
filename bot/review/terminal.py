"""Labelling in the terminal: one question after the other, a key each."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections import deque
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bot.dataset import annotate, annotated
from bot.evaluation import OFF_TOPIC
from bot.review.memory import DROPPED
from bot.review.questions import Question
from bot.review.review import RefusedError, Review
from common.errors import UserError

ACCEPT, EDIT, SKIP, DROP, UNDO, QUIT, HELP = "\n", "e", "s", "d", "u", "q", "?"
OFF_TOPIC_KEY = "o"
_COMMANDS = (EDIT, SKIP, DROP, UNDO, QUIT, HELP, OFF_TOPIC_KEY)
_INTENT_KEYS = [key for key in "123456789abcdefghijklmnopqrstuvwxyz" if key not in _COMMANDS]

HELP_TEXT = f"""\
  Enter  what the bot had in mind is right       {OFF_TOPIC_KEY}  off-topic
  {EDIT}      correct the text or its entities          {SKIP}  skip: it comes again next time
  {DROP}      drop: not fit to learn from, for good     {UNDO}  undo the last decision
  {QUIT}      quit; go on later where you were          {HELP}  this help
Entities are written [like this](person): « Qui connaît [k8s](technology) à [Nantes](agency) ? ».
A name that you still recognise is a real one: replace it ({EDIT}) or drop the question ({DROP})."""


class QuitError(Exception):
    """The reviewer has had enough."""


def keys_of(intents: Sequence[str]) -> dict[str, str]:
    """Return key → intent."""
    return dict(zip(_INTENT_KEYS, intents, strict=False))


class Labelling:
    """A session in the terminal.

    On a terminal each decision is one key; where the input comes from elsewhere, a line.
    """

    def __init__(self, review: Review, console: Console) -> None:
        self.review, self.console = review, console
        self.keys = keys_of(review.intents)
        self.added = self.dropped = self.skipped = 0

    def run(self, questions: Sequence[Question]) -> int:
        """Ask about each of ``questions``; return how many are left."""
        ahead, behind = deque(questions), list[Question]()
        if questions:
            self._help()
        else:
            self.console.print("There is nothing to review.")
        try:
            while ahead:
                self._show(ahead[0], len(behind) + 1, len(questions))
                self._decide(ahead, behind)
        except (QuitError, KeyboardInterrupt, EOFError):
            self.console.print()
        return len(ahead) + self.skipped

    def _help(self) -> None:
        self.console.print(HELP_TEXT, style="dim", highlight=False, markup=False)

    def _show(self, question: Question, number: int, total: int) -> None:
        times = "once" if question.count == 1 else f"{question.count} times"
        reasons = ", ".join(reason for reason, _ in question.reasons.most_common())
        self.console.rule(f"[bold]{number}[/]/{total} · asked {times} · {reasons}", align="left")
        self.console.print(Text("  " + annotate(question.example("")), style="bold"))
        for variant in question.variants:
            self.console.print(Text(f"  also: {variant}", style="dim"))
        guesses = ", ".join(f"{intent} {share:.0%}" for intent, share in question.guesses[:3])
        self.console.print(f"  The bot had in mind: {escape(guesses) or 'nothing'}")
        intents = "  ".join(f"[bold cyan]{key}[/] {escape(i)}" for key, i in self.keys.items())
        commands = (
            f"[dim]Enter[/] [dim]{OFF_TOPIC_KEY} {EDIT} {SKIP} {DROP} {UNDO} {QUIT} {HELP}[/]"
        )
        self.console.print(f"  {intents}  {commands}", highlight=False)

    def _decide(self, ahead: deque[Question], behind: list[Question]) -> None:
        """Read keys until a decision about the first of ``ahead`` is made."""
        question = ahead[0]
        text = annotate(question.example(""))
        while True:
            key = self._key()
            if key == QUIT:
                raise QuitError
            if key == HELP:
                self._help()
            elif key == UNDO:
                if self._undo(ahead, behind):
                    return
            elif key == EDIT:
                text = self._edit(text)
            elif key in (SKIP, DROP):
                if key == DROP:
                    self.review.drop(question.key)
                    self.dropped += 1
                else:
                    self.skipped += 1
                self.console.print(f"  → {'dropped' if key == DROP else 'skipped'}")
                break
            elif intent := self._intent(key, question):
                if self._label(question, text, intent):
                    break
            else:
                self.console.print(f"  {key!r} is no key here; {HELP} lists them.")
        behind.append(ahead.popleft())

    def _intent(self, key: str, question: Question) -> str | None:
        if key == OFF_TOPIC_KEY and OFF_TOPIC in self.review.labels.intents:
            return OFF_TOPIC
        if key == ACCEPT and question.guess in self.review.labels.intents:
            return question.guess
        return self.keys.get(key)

    def _label(self, question: Question, text: str, intent: str) -> bool:
        try:
            is_new = self.review.label(question.key, annotated(text, intent))
        except UserError as error:
            what = "Not added" if isinstance(error, RefusedError) else "Not possible"
            self.console.print(f"  [yellow]{what}:[/] {escape(str(error))}")
            return False
        self.added += is_new
        self.console.print(f"  → {intent}" + ("" if is_new else " (the dataset has it already)"))
        return True

    def _edit(self, text: str) -> str:
        """Return ``text`` as the reviewer corrects it; as it was where that makes no sense."""
        if sys.stdin.isatty():
            from prompt_toolkit import prompt

            edited = prompt("  text: ", default=text)
        else:
            edited = self._line()
        try:
            annotated(edited.strip(), "")
        except UserError as error:
            self.console.print(f"  [yellow]{escape(str(error))}[/]")
            return text
        self.console.print(Text(f"  {edited.strip()}", style="bold"))
        return edited.strip()

    def _undo(self, ahead: deque[Question], behind: list[Question]) -> bool:
        """Go back to the last question; return whether there is one."""
        if not behind:
            self.console.print("  There is nothing to undo.")
            return False
        ahead.appendleft(behind.pop())
        label = self.review.memory.reviewed.get(ahead[0].key)
        if label is None:
            self.skipped -= 1
        else:
            undone = self.review.undo()
            self.dropped -= label == DROPPED
            self.added -= undone is not None and undone.example is not None
        self.console.print("  → taken back")
        return True

    def _key(self) -> str:
        if not sys.stdin.isatty():
            return self._line().strip().lower() or ACCEPT
        return _keypress().lower()

    @staticmethod
    def _line() -> str:
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line


def _keypress() -> str:
    """Return the next key of the terminal; what was typed ahead counts.

    Raises:
        EOFError: end of input.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)  # click's getchar would flush
        key = os.read(terminal, 1)
        if key == b"\x1b":  # an arrow or function key sends several
            while select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 16)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    if key in (b"", b"\x04"):
        raise EOFError
    return key.decode("ascii", "replace")
