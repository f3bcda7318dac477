"""Messages as nobody should send them, for whoever must survive them."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator

from benchmarks.load.scenarios import Step

# Once in so many messages, something that must be understood all the same.
SENSE = 20

_SEEDS = (
    "/WHO_IS{",
    '/WHO_IS{"person": ["Paul", {"a": null}, 7]}',
    '/WHO_IS{"person": "' + "é" * 200 + '"}',
    '/WHO_KNOWS_ABOUT{"technology": {"$ne": 1}, "offset": "-5"}',
    '/WHO_KNOWS_ABOUT{"technology": "Java", "offset": "1e999"}',
    "/INTENT{}",
    "/restart",
    "/session_start",
    "/action_who_is",
    "EXTERNAL: WHO_IS",
    "'; DROP TABLE events; --",
    "%s %d {0} {name} ${ACTIONS_SECRET} {{7*7}} <%= 1 %>",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '{"type": "text", "text": "Qui est Paul Martin ?"}',
    "[[[[[[[[[[{{{{{{{{{{",
    "[Paul](person)[Java](technology)",
    "\u202eniartaM luaP tse iuQ\u202c \u2066x\u2069",
    "مَن يعرف Kubernetes في نانت؟",
    "מי מכיר את Java?",
    "谁懂 Python 吗？",
    "👩🏽‍💻🏴󠁧󠁢󠁥󠁮󠁧󠁿❤️‍🔥🧑‍🤝‍🧑",
    "\ufeff\u200b\u200d\u2028\u2029\u00ad",
    "Qui\u0000 est\u0007 Paul\u001b[31m Martin\u007f ?",
    "\ud800 seul",
    "nan", "null", "true", "-1", "1e309", "0x00", "…", "?", "😀",
)  # fmt: skip


def nonsense(draw: random.Random, sense: Iterator[Step]) -> Iterator[Step]:
    """Give messages of all kinds of nonsense, with one of ``sense`` among them now and then."""
    while True:
        for _ in range(SENSE - 1):
            text = draw.choice(_KINDS)(draw)
            if draw.random() < 0.2:
                message = {"type": "postback", "payload": text.strip(), "title": text[:40].strip()}
            else:
                message = {"type": "text", "text": text.strip()}
            yield Step(message, refusable=True)
        yield next(sense)


def _seed(draw: random.Random) -> str:
    return draw.choice(_SEEDS)


def _mutated(draw: random.Random) -> str:
    text = list(draw.choice(_SEEDS))
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(text) + 1)
        text[at : at + draw.randint(0, 2)] = draw.choice(("", '"', "{", "}", "\\", "/", _any(draw)))
    return "".join(text)


def _any(draw: random.Random) -> str:
    return chr(draw.randrange(sys.maxunicode + 1))


def _unicode(draw: random.Random) -> str:
    return "".join(_any(draw) for _ in range(draw.randint(1, 60)))


def _controls(draw: random.Random) -> str:
    return "".join(chr(draw.choice((*range(32), 127, *range(128, 160)))) for _ in range(20))


def _zalgo(draw: random.Random) -> str:
    marks = [chr(code) for code in range(0x300, 0x36F)]
    return "".join(
        char + "".join(draw.choices(marks, k=draw.randint(0, 12))) for char in "Qui est Paul ?"
    )


def _huge(draw: random.Random) -> str:
    return draw.choice(("a", "é ", "/WHO_IS", "👩🏽‍💻", "{", "\n")) * draw.choice(
        (300, 3000, 20_000)
    )


def _json(draw: random.Random) -> str:
    value: object = draw.choice((None, 1, "x", []))
    for _ in range(draw.randint(1, 30)):
        value = draw.choice(([value, value], {"person": value, "event": "slot"}, [value]))
        if len(json.dumps(value)) > 3000:
            break
    return f"{draw.choice(('', '/WHO_IS', '/WHO_KNOWS_ABOUT'))}{json.dumps(value)}"


_KINDS = (_seed, _mutated, _unicode, _controls, _zalgo, _huge, _json)
