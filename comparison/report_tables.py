"""The tables of the report."""

from __future__ import annotations

import json
import math

from comparison import decision, scoring
from comparison.cost import money
from comparison.report import Report
from comparison.results import Candidate, Interval, Latency, Performance, Results
from comparison.scoring import CRITERIA, MEASURES, Assessment, Measure, label
from comparison.tables import Footnotes, Table

NOTHING = "–"
_UNANSWERED = (
    "Unanswered: refused by the service (throttled), not in time, or without an intent, as "
    "CamemBERT leaves a message of which its vocabulary knows nothing."
)

# What the original measured (2022), by the same two protocols: mean and standard deviation in
# milliseconds. Comprehend had one inference unit, CamemBERT an ml.t2.medium.
ORIGINAL_LATENCIES = {
    "spaced": {"Comprehend": (106, 64), "CamemBERT on SageMaker": (344, 82)},
    "back_to_back": {"Comprehend": (309, 340), "CamemBERT on SageMaker": (345, 85)},
}


# --- numbers in words -------------------------------------------------------------------------


def percent(share: float) -> str:
    """Return a share with one decimal: ``"93.5 %"``."""
    return f"{share * 100:.1f} %"


def percents(interval: Interval | None) -> str:
    """Return a share with its interval: ``"93.5 % (91.2–95.7)"``."""
    if interval is None:
        return NOTHING
    if interval.low == interval.high:
        return percent(interval.value)
    return f"{percent(interval.value)} ({interval.low * 100:.1f}–{interval.high * 100:.1f})"


def plain(interval: Interval) -> str:
    """Return a number with its interval: ``"0.210 (0.180–0.250)"``."""
    spread = f" ({interval.low:.3f}–{interval.high:.3f})" if interval.low < interval.high else ""
    return f"{interval.value:.3f}{spread}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: ``"5.1 ms"``, ``"1.20 s"``, ``"12.5 min"``."""
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def size(byte_count: float) -> str:
    """Return a size: ``"280 MB"``."""
    return f"{byte_count / 1e6:,.0f} MB"


def points(total: float) -> str:
    """Return a weighted sum: ``"71"``, ``"68.4"``."""
    return f"{round(total, 1):g}"


# --- the result ---


def summary(report: Report) -> Table:
    """Return one line a candidate that is ranked, the best first."""
    sums = {one.candidate: one for one in report.decision.ranking}
    own = [one for one in report.assessments if not one.candidate.stand_in]
    own.sort(key=lambda one: [*sums, one.label].index(one.label))
    rows = [
        (
            one.label,
            *((str(of.rank), points(of.total)) if (of := sums.get(one.label)) else [NOTHING] * 2),
            *_at_a_glance(report, one),
            one.candidate.why,
        )
        for one in own
    ]
    header = ("Candidate", "Rank", "Points", *_GLANCE, "Why it is here")
    notes = [
        f"Right: share of right answers with its 95 % interval, {report.protocol}. Answer: one "
        "question a second. A month: marginal cost for "
        f"{report.costs.profile.questions:,.0f} questions."
    ]
    winners = {index for index, one in enumerate(own) if one.label in report.decision.winners}
    return Table("At a glance", header, rows, notes, {7}, winners)


_GLANCE = ("Right", "Answer, p95", "A month", "To go live")


def _at_a_glance(report: Report, one: Assessment) -> tuple[str, str, str, str]:
    of, speed = report.scores(one.candidate), one.candidate.speed
    live = one.facts.get("minutes_to_live")
    return (
        percents(of.accuracy) if of else NOTHING,
        duration(speed.spaced.p95) if speed else NOTHING,
        f"{report.costs.euros(one.bill):,.0f} €",
        duration(live.value * 60) if live else NOTHING,
    )


def stand_ins(report: Report) -> Table:
    """Return what was measured of the services that a stand-in answers for: never ranked."""
    rows = [
        (one.label, *_at_a_glance(report, one), one.candidate.stand_in)
        for one in report.assessments
        if one.candidate.stand_in
    ]
    notes = [
        "No points: what answered here is not Amazon. The prices are, and so is the time to go "
        "live, which the original measured (2022)."
    ]
    header = ("Answered by a stand-in", *_GLANCE, "What answered")
    return Table("Not ranked", header, rows, notes, {5})


def matrix(report: Report) -> Table:
    """Return the decision matrix."""
    ranked = report.decision
    marks = {one.label: one.marks for one in report.assessments}
    rows = [
        (
            one.candidate,
            str(one.rank),
            points(one.total),
            *(
                mark.show() if (mark := marks[one.candidate].get(criterion.key)) else NOTHING
                for criterion in CRITERIA
            ),
        )
        for one in ranked.ranking
    ]
    weighed = (f"{one.short} × {ranked.weights[one.key]:g}" for one in CRITERIA)
    titles = {one.key: one.title.lower() for one in CRITERIA}
    titles |= {one.key: one.title.lower() for one in MEASURES}
    notes = [
        "Marks from 1 to 5; in brackets at the ends of the 95 % intervals. Points: the sum of "
        "mark × weight.",
        *(f"Not ranked: {name}, {reason}." for name, reason in ranked.unranked.items()),
        *(
            f"{one.label}, {titles[key]}: without {', '.join(titles[x] for x in mark.missing)}."
            for one in report.assessments
            for key, mark in one.marks.items()
            if mark.missing
        ),
    ]
    winners = {index for index, one in enumerate(ranked.ranking) if one.rank == 1}
    header = ("Candidate", "Rank", "Points", *weighed)
    return Table("Decision matrix", header, rows, notes, (), winners, identifier="matrix")


def stability(report: Report) -> Table:
    """Return how often each candidate wins, and up to which weights the winner does."""
    ranked, bounds = report.decision, []
    rows = [
        (name, percent(ranked.near[name]), percent(ranked.anywhere[name]))
        for name in (one.candidate for one in ranked.ranking)
    ]
    notes = [
        f"{decision.SAMPLES:,} weightings each, seed {decision.SEED}: from Dirichlet distributions "
        "with the chosen weights as parameters (their mean is the chosen weighting) and with all "
        "parameters 1 (every weighting is as likely). A tie is split."
    ]
    for criterion in CRITERIA:
        low, high = ranked.winner_holds.get(criterion.key, (0, math.inf))
        if low > 0:
            bounds.append(f"{criterion.title.lower()} at least {low:.2g}")
        if high < math.inf:
            bounds.append(f"{criterion.title.lower()} at most {high:.2g}")
    if bounds:
        each = "while each weight by itself is:"
        notes.append(f"{ranked.winners[0]} stays first {each} {', '.join(bounds)}.")
    elif ranked.winner_holds:
        notes.append(f"{ranked.winners[0]} stays first whatever a single weight is.")
    header = ("Candidate", "Wins near the weights chosen", "Wins of any weights")
    return Table("How stable the ranking is", header, rows, notes)


def original() -> Table:
    """Return the original's marks and sums."""
    ranked = decision.decide(decision.ORIGINAL_MARKS)
    rows = [
        (one.candidate, points(one.total),
         *(f"{one.marks[criterion.key]:g}" for criterion in CRITERIA))
        for one in ranked.ranking
    ]  # fmt: skip
    header = ("Solution", "Points", *(f"{one.short} × {one.weight:g}" for one in CRITERIA))
    notes = ["Its marks were given by hand, after two solutions on two different splits."]
    return Table("The original's matrix (2022)", header, rows, notes)


# --- performance ------------------------------------------------------------------------------


def scores(report: Report, protocol: str, title: str) -> Table:
    """Return the scores of all candidates by a protocol."""
    footnotes, rows = Footnotes(), []
    for one in report.results.candidates:
        if of := scoring.performance(one, protocol):
            rows.append(
                (
                    footnotes.mark(label(one), one.notes),
                    percents(of.accuracy),
                    percents(of.macro_f1),
                    plain(of.log_loss),
                    percents(of.calibration_error),
                    percents(of.off_topic_auroc),
                    percents(of.false_accepts),
                    f"{of.runs} × {of.train_examples:.0f} / {of.test_examples:.0f}",
                )
            )
    header = ("Candidate", "Accuracy", "Macro-F1", "Log loss", "Calibration error",
              "Off-topic AUROC", "False accepts", "Runs × train / test")  # fmt: skip
    notes = [
        "In brackets: 95 % intervals. False accepts: off-topic messages accepted where 95 % of the "
        "others are. The two protocols do not compare with each other."
    ]
    return Table(title, header, rows, [*notes, *footnotes.lines])


def significance(report: Report) -> Table:
    """Return the paired tests between the first two candidates."""
    names = {one.key: label(one) for one in report.results.candidates}
    rows = [
        (
            f"{names[one.first]} against {names[one.second]}",
            one.protocol,
            one.measure.replace("_", "-"),
            f"{percents(one.difference)}",
            f"{one.p_value:.3f}" if one.p_value >= 0.001 else "< 0.001",
            "yes" if one.p_value < 0.05 else "no",
            f"{one.test}, {one.pairs} pairs",
        )
        for one in report.results.significance
    ]
    header = ("The first two", "Protocol", "Measure", "Difference", "p", "Significant (5 %)",
              "Test")  # fmt: skip
    notes = [] if rows else ["There were no two candidates to test."]
    return Table("Is the first really better?", header, rows, notes, {1, 2, 5, 6})


def intents(candidate: Candidate, of: Performance, protocol: str) -> Table:
    """Return precision and recall of each intent."""
    rows = [
        (intent, percents(one.precision), percents(one.recall), str(one.support))
        for intent, one in sorted(of.intents.items())
    ]
    header = ("Intent", "Precision", "Recall", "Examples")
    return Table(f"{label(candidate)}, {protocol}", header, rows)


# --- speed, cost, ease ------------------------------------------------------------------------


def latency(report: Report, title: str, series: str) -> Table:
    """Return the times of one of the original's two protocols, with the original's own below.

    Args:
        report: The report.
        title: Title of the table.
        series: The protocol, a key of :data:`ORIGINAL_LATENCIES`.
    """
    rows: list[tuple[str, ...]] = []
    for one in report.results.candidates:
        if one.speed:
            times: Latency = getattr(one.speed, series)
            mean = f"{duration(times.mean)} ± {duration(times.sd)}"
            spread = map(duration, (times.p50, times.p95, times.p99))
            rows.append((label(one), mean, *spread, f"{times.unanswered} of {times.count}"))
    rows += [
        (f"Original (2022): {name}", f"{mean} ms ± {sd} ms", NOTHING, NOTHING, NOTHING, NOTHING)
        for name, (mean, sd) in ORIGINAL_LATENCIES[series].items()
    ]
    header = ("Candidate", "Mean ± sd", "p50", "p95", "p99", "Unanswered")
    notes = [
        f"{_UNANSWERED} The time until then counts as well. Of its own times the original tells "
        "mean and deviation alone."
    ]
    return Table(title, header, rows, notes)


def load(report: Report) -> Table:
    """Return the times under load."""
    measured = [(one, one.speed.load) for one in report.results.candidates if one.speed]
    clients = sorted({load.clients for _, series in measured for load in series})
    rows = []
    for one, series in measured:
        loads = {load.clients: load for load in series}
        rows.append(
            (
                label(one),
                f"{max((load.throughput for load in loads.values()), default=0):,.0f}",
                *(duration(loads[n].latency.p95) if n in loads else NOTHING for n in clients),
                str(sum(load.latency.unanswered for load in loads.values())),
            )
        )
    header = ("Candidate", "Answers a second, at best",
              *(f"p95, {count} client{'s' * (count > 1)}" for count in clients),
              "Unanswered")  # fmt: skip
    notes = [
        "Each client asks again when it is answered. One question at a time, as Rasa's server "
        f"does; the wait in line is in the latency. {_UNANSWERED}"
    ]
    return Table("Sustained load", header, rows, notes)


def footprint(report: Report) -> Table:
    """Return memory, cold start and training."""
    rows = []
    for one in report.results.candidates:
        cells = [NOTHING] * 5
        if one.speed:
            cold = one.speed.cold_start
            parts = (cold.imports, cold.loading, cold.first_answer)
            cells[:3] = (
                size(one.speed.resident_bytes),
                duration(cold.total),
                " + ".join(map(duration, parts)),
            )
        if one.training:
            cells[3:] = duration(one.training.seconds), size(one.training.model_bytes)
        rows.append((label(one), *cells))
    header = ("Candidate", "Memory", "Cold start", "Imports + loading + first answer",
              "Training", "Model")  # fmt: skip
    notes = ["Memory of the asking process alone where the answer comes from elsewhere."]
    return Table("Memory, cold start, training", header, rows, notes)


def bills(report: Report) -> Table:
    """Return the bill that each candidate is marked by."""
    costs = report.costs
    rows = [
        (one.label, bill.name, money(bill.dollars()), f"{costs.euros(one.bill):,.2f} €")
        for one in report.assessments
        for bill in [costs.options[one.bill]]
    ]
    header = ("Candidate", "Served by", "Month", "Month, €")
    notes = [
        "Marked by a way to serve that answers at any hour, as the original did. In the bot's "
        "process there is no bill, but memory of its machine is taken: see the memory table."
    ]
    return Table("The bill of each candidate", header, rows, notes, {1})


def facts(report: Report) -> Table:
    """Return the facts of both criteria of ease by way to serve, with their marks."""
    routes = list(dict.fromkeys(one.route for one in report.assessments))
    rows = [
        (measure.title, *(_fact_range(report, route, measure) for route in routes))
        for measure in MEASURES
        if measure.criterion in scoring.EASE
    ]
    header = ("Fact", *(f"{route.capitalize()} → mark" for route in routes))
    notes = [
        f"{route.capitalize()}: "
        f"{', '.join(one.label for one in report.assessments if one.route == route)}."
        for route in routes
    ]
    return Table("What it takes", header, rows, notes)


def _fact_range(report: Report, route: str, measure: Measure) -> str:
    """Return the least and the greatest value among the candidates of a route, and their marks."""
    values = sorted(
        one.facts[measure.key].value
        for one in report.assessments
        if one.route == route and measure.key in one.facts
    )
    if not values:
        return NOTHING
    ends = [measure.show(value) for value in dict.fromkeys((values[0], values[-1]))]
    marks = sorted({measure.mark(value) for value in values})
    return f"{' to '.join(ends)} → {' to '.join(map(str, marks))}"


# --- rules and method -------------------------------------------------------------------------


def rules() -> Table:
    """Return the rules that marks are given by."""
    titles = {one.key: one.title for one in CRITERIA}
    rows = [
        (titles[one.criterion], one.title, f"{one.share:g}", one.rule(), one.why)
        for one in MEASURES
    ]
    header = ("Criterion", "Measure", "Share", "Marks", "Where the thresholds come from")
    return Table("The rules", header, rows, (), {1, 3, 4})


def failures(results: Results) -> Table:
    """Return what raised."""
    rows = [
        (label(one), failure.cell, failure.error)
        for one in results.candidates
        for failure in one.failures
    ]
    notes = ["A measurement that failed is missing in the tables; it is nowhere counted as 0."]
    return Table("Measurements that failed", ("Candidate", "Measurement", "Error"), rows, notes,
                {1, 2})  # fmt: skip


def candidates(results: Results) -> Table:
    """Return what each candidate is made of."""
    rows = [
        (
            label(one),
            one.encoder or NOTHING,
            json.dumps(one.definition, ensure_ascii=False, sort_keys=True),
            " ".join(one.notes),
        )
        for one in results.candidates
    ]
    header = ("Candidate", "Encoder", "Definition", "To know")
    return Table("Candidates", header, rows, (), {1, 2, 3})
