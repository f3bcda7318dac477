"""Lists of people under constraints, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from actions import conversation, server
from actions.directory import Collaborator, Directory, index, skills
from actions.directory.database import VERSION_TABLE
from actions.query import Constraint, Query, Term
from tests.support import ROOT

SAMPLE = ROOT / "data/directory.csv"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def people(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Directory]:
    """The sample directory; the tests of this file only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('people') / 'people.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_server").create_database()
    directory = Directory(url)
    directory.import_(SAMPLE)
    yield directory
    directory.close()


def wanted(kind: str, *values: str, **limits: object) -> Constraint:
    return Constraint(tuple(Term(kind, value) for value in values), **limits)  # type: ignore[arg-type]


def available(until: date | None = None, **limits: object) -> Constraint:
    return wanted("availability", "", until=until, **limits)


def names(directory: Directory, *constraints: Constraint, **options: object) -> list[str]:
    query = Query(constraints, **{"limit": 50, **options})  # type: ignore[arg-type]
    return [listed.collaborator.full_name for listed in directory.find(query).people]


# --- against a plain reading of the file ------------------------------------------------------


def fits(person: Collaborator, constraint: Constraint) -> bool:
    levels = {skill.name: skill.level for skill in person.skills}
    if constraint.kind == "technology":
        lowest, highest = constraint.minimum or 1, constraint.maximum or 5
        found = any(lowest <= levels.get(t.value, 0) <= highest for t in constraint.terms)
    elif constraint.kind == "agency":
        found = person.agency in {term.value for term in constraint.terms}
    else:
        day = person.available_from
        found = day is not None and (
            (constraint.until is None or day <= constraint.until)
            and (constraint.after is None or day > constraint.after)
        )
    return found != constraint.excluded


def best_levels(person: Collaborator, query: Query) -> list[int]:
    levels = {skill.name: skill.level for skill in person.skills}
    return [
        max(
            level
            for term in constraint.terms
            for level in [levels.get(term.value, 0)]
            if (constraint.minimum or 0) <= level <= (constraint.maximum or 5)
        )
        for constraint in query.constraints
        if constraint.is_skill
    ]


SKILLS = st.lists(
    st.sampled_from(["Java", "Python", "Docker", "Kubernetes", "SQL", "React", "COBOL"]),
    min_size=1,
    max_size=2,
    unique=True,
)
PLACES = st.lists(
    st.sampled_from(["Nantes", "Rennes", "Paris", "Lyon"]), min_size=1, max_size=2, unique=True
)
DAYS = st.dates(date(2026, 11, 1), date(2027, 6, 1))
CONSTRAINTS = st.one_of(
    st.builds(
        lambda values, excluded, lowest, highest: wanted(
            "technology", *values, excluded=excluded, minimum=lowest, maximum=highest
        ),
        SKILLS,
        st.booleans(),
        st.none() | st.integers(1, 5),
        st.none() | st.integers(1, 5),
    ),
    st.builds(lambda v, excluded: wanted("agency", *v, excluded=excluded), PLACES, st.booleans()),
    st.builds(
        lambda until, after, excluded: available(until, after=after, excluded=excluded),
        DAYS,
        st.none() | DAYS,
        st.booleans(),
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(constraints=st.lists(CONSTRAINTS, min_size=1, max_size=4, unique=True))
def test_a_list_holds_just_those_who_fit(people: Directory, constraints: list[Constraint]) -> None:
    query = Query(tuple(constraints), limit=50)
    everybody = [listed.collaborator for listed in people.find(Query(limit=50)).people]
    everybody += [p.collaborator for p in people.find(Query(limit=50, offset=50)).people]
    assert len(everybody) == 72
    expected = [p for p in everybody if all(fits(p, c) for c in constraints)]
    found = people.find(query)
    assert found.total == len(expected)
    shown = [listed.collaborator for listed in found.people]
    assert {p.id for p in shown} <= {p.id for p in expected}
    keys = [
        (-min(levels, default=0), -sum(levels)) for p in shown for levels in [best_levels(p, query)]
    ]
    assert keys == sorted(keys)
    for relaxed in found.relaxed:
        assert not found.total
        assert relaxed.total == people.find(relaxed.query).total > 0
    if not found.total:
        for dropped in constraints:
            others = [c for c in constraints if c != dropped]
            enough = others and any(all(fits(p, c) for c in others) for p in everybody)
            assert not enough or (dropped,) in [relaxed.dropped for relaxed in found.relaxed]
    assert people.find(query.with_(limit=3)).total == found.total
    assert sum(people.count_by_agency(query).values()) == found.total


@settings(max_examples=60, deadline=None)
@given(constraints=st.lists(CONSTRAINTS, max_size=4), limit=st.none() | st.integers(1, 50))
def test_a_query_survives_json(constraints: list[Constraint], limit: int | None) -> None:
    query = Query(tuple(dict.fromkeys(constraints)), "agency", limit, 5)
    assert Query.from_json(query.to_json()) == query


# --- what words mean --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("testeurs", {"Ludivine Carlier", "Gwenaëlle Le Dantec"}),
        ("architectes logiciels", {"Jean-François Le Goff"}),
        ("administrateur de bases de données", {"Van Thanh Nguyen"}),
        ("consultante cybersécurité", {"Océane Delmas"}),
        ("UX designer", {"Solène Abgrall"}),
        ("chef de projet", {"Anne van den Berg"}),
        ("directeur", {"Ségolène de Villepreux"}),
        ("plombier", set()),
    ],
)
def test_job_titles_in_any_inflection(people: Directory, title: str, expected: set[str]) -> None:
    found = set(names(people, wanted("job_title", title)))
    assert found == expected


def test_a_family_is_its_skills_and_its_titles(people: Directory) -> None:
    found = people.find(Query((wanted("family", "sécurité"),), limit=50))
    listed = {p.collaborator.full_name: p.levels for p in found.people}
    assert listed["Fatoumata Diallo"]["Cybersécurité"] == 5
    assert "Océane Delmas" in listed
    assert names(people, wanted("technology", "sécurité")) == list(listed)
    high = names(people, wanted("family", "front", minimum=5))
    assert "Yann Le Bihan" in high
    assert "Nolwenn Quéméneur" not in high  # Vue.js 3


def test_a_skill_by_its_first_word(people: Directory) -> None:
    found = people.find(Query((wanted("technology", "Spring"),)))
    assert found.query.technologies == ("Spring Boot",)
    assert found.total == people.find(Query((wanted("technology", "spring boot"),))).total > 0


def test_biographies_are_searched_by_stems(people: Directory) -> None:
    assert names(people, wanted("topic", "la banque")) == ["Karim Ben Salah"]
    assert names(people, wanted("topic", "secteur public")) == ["Anne van den Berg"]


def test_what_the_directory_does_not_know_is_told(people: Directory) -> None:
    found = people.find(Query((wanted("technology", "Zorglub"), wanted("agency", "Brest"))))
    assert found.total == 0
    assert found.unknown == (Term("technology", "Zorglub"), Term("agency", "Brest"))
    excluded = wanted("technology", "Zorglub", excluded=True)
    assert people.find(Query((excluded, wanted("agency", "Nantes")))).total == 14


def test_people_left_out_and_people_looked_at_only(people: Directory) -> None:
    java = wanted("technology", "Java", minimum=5)
    everybody = names(people, java)
    left = names(people, java, wanted("person", "Paul Martin", excluded=True))
    assert set(everybody) - set(left) == {"Paul Martin"}
    found = people.find(Query((java,)), within=["C0002", "C0003"])
    assert [p.collaborator.id for p in found.people] == ["C0002"]


def test_other_orders(people: Directory) -> None:
    java = (wanted("technology", "Java"),)
    rows = people.find(Query(java, "agency", 50)).people
    places = [p.collaborator.agency for p in rows]
    assert places == sorted(places)
    rows = people.find(Query(java, "availability", 50)).people
    days = [p.collaborator.available_from for p in rows]
    known = [day for day in days if day]
    assert days == [*sorted(known), *[None] * (len(days) - len(known))]
    assert names(people, *java, order="name")[0] == "Rachid Aït Ouali"


def test_a_contact_however_it_is_written(people: Directory) -> None:
    for contact in ("Maelys.KERGUELEN@example.com", "0639980548", "+33 6 39 98 05 48"):
        assert [p.id for p in people.find_contact(contact)] == ["C0001"]
    assert people.find_contact("nobody@example.com") == ()


def test_who_is_alike(people: Directory) -> None:
    found = people.find_alike("C0002")
    assert "C0002" not in {p.collaborator.id for p in found.people}
    assert {"Java", "Spring Boot"} <= found.people[0].levels.keys()
    there = people.find_alike("C0002", (wanted("agency", "Rennes"),))
    assert {p.collaborator.agency for p in there.people} == {"Rennes"}


def test_counts(people: Directory) -> None:
    assert people.count_by_agency(Query())["Lyon"] == 12
    assert list(people.count_by_skill("Lyon", limit=1)) == ["Docker"]
    assert people.count_by_skill("Brest") == {}


# --- the index --------------------------------------------------------------------------------


def test_an_import_moves_people_in_the_index(directory: Directory, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    header = "id,first_name,last_name,agency,job_title,email,phone,skills,biography\n"
    path.write_text(header + "A,Ada,Byron,Lyon,Testeuse,ada@example.com,,,Vient de la banque\n")
    directory.import_(path)
    assert names(directory, wanted("job_title", "testeur")) == ["Ada Byron"]
    path.write_text(header + "A,Ada,Byron,Lyon,Architecte,ab@example.com,,,Vient du sport\n")
    directory.import_(path)
    assert names(directory, wanted("job_title", "testeur")) == []
    assert names(directory, wanted("topic", "banque")) == []
    assert names(directory, wanted("topic", "sport")) == ["Ada Byron"]
    assert directory.find_contact("ada@example.com") == ()
    directory.forget("A")
    with directory.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM collaborator_word")).scalar() == 0


def test_a_directory_of_the_version_before_is_indexed(
    directory: Directory, directory_url: str
) -> None:
    directory.import_(SAMPLE)
    before = names(directory, wanted("topic", "banque"), wanted("job_title", "lead"))
    assert before
    config = Config()
    config.set_main_option("script_location", str(ROOT / "actions/directory/migrations"))
    with directory.database.write() as connection:
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.downgrade(config, "0001")
    directory.close()
    again = Directory(directory_url)
    assert names(again, wanted("topic", "banque"), wanted("job_title", "lead")) == before
    again.close()


# --- what is kept in memory -------------------------------------------------------------------

HEADER = "id,first_name,last_name,agency,job_title,email,phone,skills,available_from\n"


def statements(directory: Directory, ask: Callable[[], object]) -> list[str]:
    """The statements that a question sends to the database."""
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = directory.database._engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


def test_another_process_s_import_counts_at_once(
    directory: Directory, directory_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + "A,Ada,Byron,Lyon,Testeuse,,,Java 8:3;SQL:2,2026-01-01\n")
    directory.import_(path)
    query = (wanted("technology", "Java"), wanted("technology", "SQL"), available(date(2026, 2, 1)))
    assert names(directory, *query) == ["Ada Byron"]
    assert [c.text for c in directory.complete("qui est by")] == ["Ada Byron"]
    other = Directory(directory_url)
    path.write_text(HEADER + "B,Bob,Byrd,Nice,Testeur,,,Java 17:5;SQL:1,2026-01-01\n")
    other.import_(path, replace=True)
    other.close()
    assert names(directory, *query) == ["Bob Byrd"]
    assert directory.count_by_agency(Query(query)) == {"Nice": 1}
    assert [c.text for c in directory.complete("qui est by")] == ["Bob Byrd"]


def test_what_answers_need_is_read_before_they_are_asked_for(
    directory: Directory, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    rows = (f"{n},Ada,Byron{n},Lyon,Testeuse,,,Java:3;SQL:2,2026-01-01\n" for n in range(600))
    path.write_text(HEADER + "".join(rows))
    directory.import_(path)
    constraints = (wanted("technology", "Java"), wanted("technology", "SQL"), available())
    tables = ("FROM skill ", "FROM collaborator_skill", "FROM synonym", "FROM family")

    def read_in_question() -> list[str]:
        sent = statements(directory, lambda: directory.find(Query(constraints)))
        return [s for s in sent if any(table in " ".join(s.split()) for table in tables)]

    directory.prepare()
    # The page's people alone: who has the skills is known.
    [skills_of_page] = read_in_question()
    assert "collaborator_pk IN" in skills_of_page
    assert len(statements(directory, directory.prepare)) <= 3  # nothing has changed


def test_the_action_server_notices_imports_before_a_question_does(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_directory", directory)
    monkeypatch.setattr(server, "IMPORT_SECONDS", 0.01)
    path = tmp_path / "people.csv"

    def known() -> list[str]:
        _, vocabulary = skills._cache.get(directory.database._engine, (0, None))
        return list(vocabulary.names.values()) if vocabulary and vocabulary._people else []

    async def serve() -> None:
        following = asyncio.create_task(server._follow_directory())
        for skill in ("Java", "Kotlin"):
            path.write_text(f"{HEADER}A,Ada,Byron,Lyon,Testeuse,,,{skill}:3,\n")
            await asyncio.to_thread(directory.import_, path)
            while known() != [skill]:
                assert not following.done()
                await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(serve(), 60))


def test_memory_has_a_bound(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_MAX_KEPT", 1000)
    path = tmp_path / "people.csv"
    path.write_text(HEADER + "A,Ada,Byron,Lyon,Testeuse,,,Java:3,2026-01-01\n")
    directory.import_(path)
    for number in range(100):
        assert names(directory, wanted("topic", f"mot{number}")) == []
        assert names(directory, wanted("technology", "Java")) == ["Ada Byron"]
    with directory.database.read() as connection:
        kept = skills.vocabulary(connection).people(connection)._kept
    assert len(kept) <= 11


def test_the_best_version_counts_and_the_one_asked_for_comes_first(
    directory: Directory, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        HEADER + "A,Ada,Abel,Lyon,Dev,,,Java 8:5;Python 2:1;Python 3:4,\n"
        "B,Bob,Brun,Lyon,Dev,,,Java 17:2;Python 2:5,\n"
        "C,Cid,Clerc,Nice,Dev,,,Java 8:3;Java 17:1;Python 3:3,\n"
        "D,Dan,Droz,Nice,Dev,,,Java 8:5,\n"
    )
    directory.import_(path)
    both = wanted("technology", "Java"), wanted("technology", "Python")
    assert names(directory, *both) == ["Ada Abel", "Cid Clerc", "Bob Brun"]
    asked = wanted("technology", "Java 17"), both[1]
    assert names(directory, *asked) == ["Bob Brun", "Cid Clerc", "Ada Abel"]
    high = wanted("technology", "Java", minimum=3), both[1]
    assert names(directory, *high, order="agency") == ["Ada Abel", "Cid Clerc"]


# --- completions ------------------------------------------------------------------------------


def test_a_frequent_title_does_not_hide_others(directory: Directory, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rows = [f"{n},Ada,Byron{n},Lyon,Déléguée,,,,\n" for n in range(300)]
    path.write_text(HEADER + "".join(rows) + "X,Bob,Byrd,Évry,Développeur,,,Déploiement:3,\n")
    directory.import_(path)
    found = [c.text for c in directory.complete("un dé", limit=9)]
    assert found == ["Déploiement", "Déléguée", "Développeur"]
    assert [c.text for c in directory.complete("à év")] == ["Évry"]
    [bob] = directory.complete("qui est bob byr", limit=1)
    assert (bob.text, bob.people) == ("Bob Byrd", ("X",))
