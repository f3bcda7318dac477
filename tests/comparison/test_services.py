"""Candidates that AWS serves, against the local AWS: deployed, asked, and marked as such."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import UserError
from comparison import local_aws, results, runner, settings, splits, summary
from comparison.measurements import SPEED, Cell
from comparison.results import HELD_OUT
from tests.support.comparison_results import SENTENCES
from tests.support.tiny_encoder import build_tiny_encoder

CONFIG = """
material: {{train: train.csv, held_out: null, off_topic: other}}
splits: {{folds: 2, seeds: [0], learning_sizes: [5]}}
speed: {{threads: 1, clients: [2], load_seconds: 0.1}}
candidates:
  full:
    name: Full
    pipeline:
      - name: components.camembert.CamembertIntentClassifier
        encoder: {encoder}
        precision: fp32
        epochs: 1
        unknown_text: classify
  behind:
    name: Behind
    service: sagemaker
    local_model: full
    pipeline:
      - name: components.camembert.CamembertIntentClassifier
        sagemaker_endpoint: compared
        cache_size: 0
  comprehend:
    name: Comprehend
    service: comprehend
    pipeline:
      - name: components.comprehend.ComprehendIntentClassifier
        endpoint: compared
        train:
          s3_uri: s3://compared/comprehend
          role_arn: arn:aws:iam::123456789012:role/comprehend
          poll_seconds: 0.2
        cache_size: 0
"""


class Silent:
    """Nobody to tell how it goes."""

    def begins(self, *_: object) -> None: ...

    def ends(self, *_: object) -> None: ...


def comparison(folder: Path, **options: object) -> runner.Comparison:
    found = settings.read(folder / "compare.yml")
    data = splits.load(
        found.material.copy(update={"train": str(folder / "train.csv")}), found.splits.folds
    )
    return runner.Comparison(found, data, folder / "out", runner.Options(**options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("services"))


def write_project(folder: Path, config: str = CONFIG) -> Path:
    rows = [
        (text.format(number), intent) for intent, text in SENTENCES.items() for number in range(20)
    ]
    lines = [f"{text},{intent}" for text, intent in rows]
    (folder / "train.csv").write_text("\n".join(["text,intent", *lines]) + "\n")
    encoder = build_tiny_encoder(folder / "encoder", [text for text, _ in rows])
    (folder / "compare.yml").write_text(config.format(encoder=encoder))
    return folder


@pytest.fixture(scope="module")
def figures(project: Path) -> results.Results:
    before = dict(os.environ)
    # Comprehend's rate is limited when its speed is measured, which takes long.
    comparison(project, quick=True, kinds=[HELD_OUT], only=["comprehend"]).run(Silent())
    comparison(project, quick=True, kinds=[HELD_OUT, SPEED], only=["behind"]).run(Silent())
    assert dict(os.environ) == before
    return summary.results(comparison(project, quick=True))


def test_services_are_measured_against_the_local_aws(figures: results.Results) -> None:
    full, behind, comprehend = figures.candidates
    for candidate in figures.candidates:
        assert candidate.failures == []
    assert behind.speed is not None
    assert behind.speed.spaced.unanswered == 0
    # The very same model, behind an endpoint.
    assert behind.held_out is not None
    assert full.held_out is not None
    assert behind.held_out.accuracy == full.held_out.accuracy
    assert comprehend.held_out is not None
    assert comprehend.held_out.accuracy.value == 1.0


def test_what_stands_in_is_said_and_nothing_is_claimed_for_amazon(figures: results.Results) -> None:
    full, *services = figures.candidates
    assert full.stand_in is None
    for candidate in services:
        assert candidate.stand_in is not None
        assert "local AWS" in candidate.stand_in
        assert candidate.cross_validation is None
        assert candidate.training is None
        assert any("contaminated" in note for note in candidate.notes)
    # Answers that are not Amazon's are not tested against others.
    assert figures.significance == []


def test_an_earlier_model_is_not_taken_for_that_of_a_service_that_failed(tmp_path: Path) -> None:
    one = comparison(
        write_project(tmp_path, CONFIG.replace("epochs: 1", "epochs: -1")),
        kinds=[HELD_OUT],
        only=["behind"],
    )
    (tmp_path / "out" / "models" / "behind").mkdir(parents=True)
    one.run(Silent())
    failure = one.records[Cell("behind", HELD_OUT)].failure
    assert failure is not None
    assert "full, whose model it serves, has none" in failure.error
    assert not (tmp_path / "out" / "models" / "behind").exists()


def test_the_local_aws_hides_real_credentials(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    one = comparison(project)
    with local_aws.started([one.settings.candidates["comprehend"]], project / "aws.log") as aws:
        found = local_aws.environment(aws)
        buckets = aws.client("s3").list_buckets()["Buckets"]
        with pytest.raises(UserError, match="no component has the key 'sagemaker_endpoint'"):
            local_aws.deploy(aws, one.settings.candidates["full"], project)
    assert found["AWS_SESSION_TOKEN"] is None
    assert found["AWS_ENDPOINT_URL"] == aws.url
    assert "compared" in {bucket["Name"] for bucket in buckets}
