"""The bot as in production: two bots, two action servers, nginx, PostgreSQL, Redis, a model in S3.

What is held to: each message gets one answer, its own, whatever is killed or restarted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load import raw_http
from infra.cluster import Cluster, engines
from localaws.launcher import LocalAWS
from tests.support.mobile_server import User, conforming, problem

BUCKET, MODEL = "models", "bot.tar.gz"
PATIENCE_SECONDS = 120.0
# What tells a client to send its message again, with the same Idempotency-Key.
AGAIN = (502, 503, 504)
PEOPLE = ("Maëlys Kerguelen", "Amadou Ba", "Piotr Szymański", "Mehdi Benkirane")

WITH_BROKER = not engines.missing(broker=True)

pytestmark = pytest.mark.skipif(
    bool(engines.missing()), reason=f"not installed: apt-get install {' '.join(engines.missing())}"
)


@pytest.fixture(scope="module")
def cluster(trained_model: Path) -> Iterator[Cluster]:
    with LocalAWS() as aws:
        aws.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        aws.client("s3").upload_file(str(trained_model), BUCKET, MODEL)
        # As in the image, which has no TensorFlow.
        environ = {**aws.environment(), "BUCKET_NAME": BUCKET, "BOT_TENSORFLOW": "never"}
        arguments = ["--model", MODEL, "--remote-storage", "aws"]
        with Cluster(broker=WITH_BROKER, environ=environ, model_arguments=arguments) as running:
            yield running


class Phone:
    """Somebody who asks about one person, over and over, until told to stop.

    A message that is not answered is sent again with its Idempotency-Key, as apps do; ``failures``
    says why.
    """

    def __init__(self, cluster: Cluster, person: str) -> None:
        self.person, self.url = person, cluster.mobile_url
        self.headers = {"Authorization": f"Bearer {cluster.token(uuid.uuid4().hex)}"}
        self.questions = [f"Qui est {person} ?", "et Docker, il connaît ?"]
        self.turns: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.stopping = threading.Event()

    def talk(self) -> None:
        while not self.stopping.is_set():
            question = self.questions[len(self.turns) % 2]
            self.turns.append(self.ask(question))
            self.check(self.turns[-1], question)

    def ask(self, question: str) -> dict[str, Any]:
        headers = {**self.headers, "Idempotency-Key": uuid.uuid4().hex}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = httpx.post(
                    f"{self.url}/messages",
                    json={"type": "text", "text": question},
                    headers=headers,
                    timeout=60,
                )
                if response.status_code not in AGAIN:
                    return User.turn(response)
                self.failures.append(response.text)
            except httpx.TransportError as error:
                self.failures.append(repr(error))
            assert time.monotonic() < deadline, self.failures
            time.sleep(0.2)

    def check(self, turn: dict[str, Any], question: str) -> None:
        assert turn["question"]["text"] == question
        assert self.person in json.dumps(turn["replies"], ensure_ascii=False), turn

    def history(self) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        before: dict[str, str] = {}
        while True:
            response = httpx.get(
                f"{self.url}/history", params={"limit": 50, **before}, headers=self.headers
            )
            assert response.status_code == 200, response.text
            page = conforming("History", response)
            turns = page["turns"] + turns
            if page["next"] is None:
                return turns
            before = {"before": page["next"]}


@contextlib.contextmanager
def talking(cluster: Cluster) -> Iterator[tuple[list[Phone], Callable[[int], None]]]:
    """Give phones that talk, and a function that waits until each has had so many more answers.

    At the end, each conversation is what its user has seen: every question once, in order, with the
    answer that came.
    """
    phones = [Phone(cluster, person) for person in PEOPLE]

    def progress(turns: int) -> None:
        wanted = [len(phone.turns) + turns for phone in phones]
        while any(len(phone.turns) < want for phone, want in zip(phones, wanted, strict=True)):
            for task in tasks:
                if task.done():
                    task.result()
            time.sleep(0.05)

    with ThreadPoolExecutor(len(phones)) as pool:
        tasks = [pool.submit(phone.talk) for phone in phones]
        try:
            yield phones, progress
        finally:
            for phone in phones:
                phone.stopping.set()
        for task in tasks:
            task.result()
    for phone in phones:
        assert phone.history() == phone.turns


def test_a_killed_bot_and_a_killed_action_server_are_made_up_for(cluster: Cluster) -> None:
    with talking(cluster) as (_, progress):
        progress(2)
        cluster.kill("bot-1")
        progress(2)
        cluster.kill("actions-1")
        progress(2)
        cluster.start("actions-1", wait=False)
        cluster.start("bot-1")
        progress(2)


def test_a_rolling_restart_is_not_noticed(cluster: Cluster) -> None:
    with talking(cluster) as (phones, progress):
        progress(1)
        cluster.rolling_restart()
        progress(1)
    assert [phone.failures for phone in phones] == [[]] * len(phones)


def test_a_message_sent_to_both_bots_is_answered_once(cluster: Cluster) -> None:
    phone = Phone(cluster, PEOPLE[0])
    headers = {**phone.headers, "Idempotency-Key": uuid.uuid4().hex}
    message = {"type": "text", "text": phone.questions[0]}

    def send(name: str) -> dict[str, Any]:
        url = f"{cluster.parts[name].url}/webhooks/mobile/v1/messages"
        return User.turn(httpx.post(url, json=message, headers=headers, timeout=60))

    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(send, cluster.bots * 4))
    assert turns == [turns[0]] * 8
    assert phone.history() == turns[:1]


def test_messages_of_one_user_at_once_are_all_answered(cluster: Cluster) -> None:
    phone = Phone(cluster, PEOPLE[0])
    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(phone.ask, [phone.questions[0]] * 8))
    by_id = {turn["id"]: turn for turn in turns}
    assert len(by_id) == 8
    stored = phone.history()
    assert {turn["id"]: turn for turn in stored} == by_id


def test_the_api_of_rasa_is_not_for_clients(cluster: Cluster) -> None:
    for path in ("/status", "/conversations/x/tracker", "/model/parse", "/domain", "/version"):
        assert httpx.get(cluster.url + path).status_code == 404
    assert httpx.get(f"{cluster.url}/webhooks/rest/").status_code == 404


@pytest.mark.skipif(not WITH_BROKER, reason="not installed: apt-get install rabbitmq-server")
def test_the_broker_gets_the_events_of_a_conversation(cluster: Cluster) -> None:
    """Also those of the time in which it was down, which nobody waits for."""
    import aio_pika

    phone = Phone(cluster, PEOPLE[0])
    cluster.kill("rabbitmq")
    unheard = phone.ask(phone.questions[0])
    assert not phone.failures
    cluster.start("rabbitmq")
    for name in cluster.bots:
        assert phone.person.split()[-1] not in cluster.parts[name].log.read_text()

    async def find(turn: dict[str, Any]) -> None:
        async with await aio_pika.connect(cluster.broker_url) as connection:
            queue = await (await connection.channel()).get_queue("rasa_events")
            while True:
                message = await queue.get(no_ack=True, fail=False)
                event = json.loads(message.body) if message else {}
                if event.get("event") == "user" and event["message_id"] == turn["id"]:
                    return
                if message is None:
                    await asyncio.sleep(0.1)

    for turn in (unheard, phone.ask(phone.questions[1])):
        asyncio.run(asyncio.wait_for(find(turn), PATIENCE_SECONDS))


def test_whatever_is_sent_is_answered(cluster: Cluster) -> None:
    def pids() -> list[int]:
        return [cluster.parts[name].pid for name in (*cluster.bots, *cluster.actions)]

    target = raw_http.bot("cluster", cluster.parts["nginx"].port, pids, cluster.token)
    raw_http.speak(target, 150)
    assert not target.problems, "\n".join(target.problems)


def test_what_nginx_says_itself_keeps_to_the_contract(cluster: Cluster) -> None:
    """The last one: it stops the bots."""
    headers = {"Content-Type": "application/json"}
    large = httpx.post(f"{cluster.mobile_url}/messages", content=b"x" * 100_000, headers=headers)
    problem(large, 413, "payload-too-large")
    for name in cluster.bots:
        cluster.stop(name)
    problem(httpx.get(f"{cluster.mobile_url}/health"), 503, "unavailable")
