"""The report's first page, in English and in French: what was compared, what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from comparison.decision import Ranked
from comparison.report import Report
from comparison.report_tables import duration, points
from comparison.results import HELD_OUT
from comparison.scoring import BEST, CRITERIA

_PHRASES = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
TITLES = {language: phrases["title"] for language, phrases in _PHRASES.items()}


def paragraphs(report: Report, language: str) -> list[str]:
    """Return the page's paragraphs, as Markdown.

    Args:
        report: The report.
        language: ``en`` or ``fr``.
    """
    return _Writer(report, language).paragraphs()


class _Writer:
    def __init__(self, report: Report, language: str) -> None:
        self._report, self._french = report, language == "fr"
        self._phrases = _PHRASES[language]
        self._assessed = {one.label: one for one in report.assessments}

    def paragraphs(self) -> list[str]:
        results = self._report.results
        return [
            self._say(
                "compared",
                count=len(results.candidates),
                train=results.train.examples,
                intents=len(results.train.intents),
                held_out=results.held_out.examples,
                cores=results.machine.cores,
                date=results.date,
            ),
            *self._what_stands_in(),
            *self._result(),
            *self._significance(),
            self._costs(),
            *self._advice(),
        ]

    def _name(self, label: str) -> str:
        """Return a candidate's name without what stands in: the page says that once, for all."""
        return self._assessed[label].candidate.name

    def _say(self, phrase: str, **values: Any) -> str:
        return self._phrases[phrase].format(**{k: self._number(v) for k, v in values.items()})

    def _number(self, value: Any) -> Any:
        """Return a figure with the language's comma; names stay as they are."""
        text = str(value)
        if not self._french or not text[:1].isdigit():
            return value
        return text.replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")

    def _what_stands_in(self) -> list[str]:
        candidates, parts = self._report.results.candidates, []
        used = {
            (Path(one.encoder).name, one.encoder_asked)
            for one in candidates
            if one.encoder and one.encoder_asked
        }
        parts += [self._say("encoder", used=name, asked=asked) for name, asked in sorted(used)]
        services = [one.name for one in candidates if one.stand_in]
        if services:
            parts.append(self._say("service", names=self._phrases["and"].join(services)))
        return parts

    def _result(self) -> list[str]:
        ranked = self._report.decision
        if not ranked.ranking:
            return [self._say("none")]
        first, full = ranked.ranking[0], points(BEST * sum(ranked.weights.values()))
        total = points(first.total)
        if len(ranked.winners) > 1:
            names = self._phrases["and"].join(map(self._name, ranked.winners))
            return [self._say("shared", names=names, total=total, full=full)]
        if len(ranked.ranking) == 1:
            return [self._say("alone", first=self._name(first.candidate), total=total, full=full)]
        second = ranked.ranking[1]
        said = self._say(
            "first", first=self._name(first.candidate), total=total, full=full,
            second=self._name(second.candidate),
            lead=points(first.total - second.total), gains=self._gains(first, second),
        )  # fmt: skip
        return [" ".join([said, *self._slower(first, second)])]

    def _slower(self, first: Ranked, second: Ranked) -> list[str]:
        """Say where the mark for speed and the plainest of its figures disagree."""
        speeds = [self._assessed[one.candidate].candidate.speed for one in (first, second)]
        if not speeds[0] or not speeds[1]:
            return []
        mine, other = (one.spaced.p95 for one in speeds if one)
        if mine <= other or first.marks["speed"] <= second.marks["speed"]:
            return []
        return [
            self._say(
                "p95", first=self._name(first.candidate), mine=duration(mine), other=duration(other)
            )
        ]

    def _gains(self, one: Ranked, other: Ranked) -> str:
        """Return the criteria in which two differ, with the points that each brings or costs."""
        weights, found = self._report.decision.weights, []
        for criterion in CRITERIA:
            gain = weights[criterion.key] * (one.marks[criterion.key] - other.marks[criterion.key])
            if abs(gain) >= 0.05:
                key = "cost_criterion" if criterion.key == "cost" else criterion.key
                title = self._phrases.get(key) if self._french else criterion.title.lower()
                figure = f"{round(gain, 1):+g}"
                found.append(f"{title} ({figure.replace('.', ',') if self._french else figure})")
        return ", ".join(found) or self._phrases["nothing"]

    def _significance(self) -> list[str]:
        names = {one.key: one.name for one in self._report.results.candidates}
        return [
            self._say(
                "significant" if one.p_value < 0.05 else "chance",
                first=names[one.first],
                second=names[one.second],
                difference=f"{one.difference.value * 100:.1f}",
                p=f"{one.p_value:.2g}",
            )
            for one in self._report.results.significance
            if one.protocol == HELD_OUT and one.measure == "accuracy"
        ]

    def _costs(self) -> str:
        costs, bills = self._report.costs, {}
        for one in self._report.assessments:
            in_process = one.bill == "in-process"
            name = self._phrases["in_process"] if in_process else costs.options[one.bill].name
            bills[name] = self._number(f"{costs.euros(one.bill):,.0f} €")
        listed = "; ".join(f"{name} {euros}" for name, euros in bills.items())
        return self._say("cost", questions=f"{costs.profile.questions:,.0f}", bills=listed)

    def _advice(self) -> list[str]:
        ranking = self._report.decision.ranking
        default = {one.label for one in self._report.assessments if one.candidate.is_default}
        ours = next((one for one in ranking if one.candidate in default), None)
        if ours is None:
            return []
        first = ranking[0]
        if ours.rank == 1:
            return [self._say("keep", default=self._name(ours.candidate))]
        best, mine = (self._report.scores(self._assessed[one.candidate].candidate)
                      for one in (first, ours))  # fmt: skip
        near = best and mine and mine.accuracy.value >= best.accuracy.low
        return [
            self._say(
                "near" if near else "far", first=self._name(first.candidate),
                default=self._name(ours.candidate),
                place=self._say("rank", rank=ours.rank),
                total=points(ours.total), gains=self._gains(first, ours),
            )
        ]  # fmt: skip
