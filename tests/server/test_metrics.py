"""The metrics: what is counted, and that Prometheus can read it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from personakit import Usage
from personakit.server.metrics import MOST_SERIES, Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Return the samples, as Prometheus reads them."""
    body, kind = metrics.text()
    assert kind.startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_a_run_is_counted() -> None:
    metrics = Metrics()
    metrics.started()
    assert samples(metrics)["personakit_in_flight{}"] == 1
    usage = Usage(10, 5, 15, cached_tokens=4, reasoning_tokens=2, cache_write_tokens=1)
    metrics.ended(
        persona="chef", key="anna", status="200", seconds=0.3, first=0.07, usage=usage, cost=0.25
    )
    found = samples(metrics)
    assert found["personakit_requests_total{key=anna,persona=chef,status=200}"] == 1
    assert found["personakit_in_flight{}"] == 0
    assert found["personakit_request_seconds_count{}"] == 1
    assert found["personakit_request_seconds_sum{}"] == 0.3
    assert found["personakit_request_seconds_bucket{le=0.25}"] == 0
    assert found["personakit_request_seconds_bucket{le=0.5}"] == 1
    assert found["personakit_first_event_seconds_sum{}"] == 0.07
    assert found["personakit_cost_dollars_total{}"] == 0.25
    kinds = {"prompt": 10, "completion": 5, "cached": 4, "reasoning": 2, "cache_write": 1}
    for kind, count in kinds.items():
        assert found[f"personakit_tokens_total{{kind={kind}}}"] == count


def test_what_is_not_known_is_not_counted() -> None:
    metrics = Metrics()
    metrics.started()
    metrics.ended(
        persona="", key="", status="cancelled", seconds=1, first=None, usage=None, cost=None
    )
    found = samples(metrics)
    assert found["personakit_requests_total{key=-,persona=-,status=cancelled}"] == 1
    assert found["personakit_first_event_seconds_count{}"] == 0
    assert found["personakit_cost_dollars_total{}"] == 0
    assert found["personakit_tokens_total{kind=prompt}"] == 0


def test_refusals_are_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.refused("unknown_key")
    metrics.refused("unknown_key")
    metrics.refused("full")
    found = samples(metrics)
    assert found["personakit_refused_total{reason=unknown_key}"] == 2
    assert found["personakit_refused_total{reason=full}"] == 1
    assert not any(name.startswith("personakit_requests_total") for name in found)


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    for number in range(MOST_SERIES + 5):
        metrics.started()
        metrics.ended(
            persona="chef", key=f"k{number}", status="200", seconds=1, first=None, usage=None,
            cost=None,
        )  # fmt: skip
    found = samples(metrics)
    assert sum(name.startswith("personakit_requests_total") for name in found) == MOST_SERIES + 1
    assert found["personakit_requests_total{key=-,persona=-,status=200}"] == 5


def test_the_rows_that_are_behind() -> None:
    waiting = [3]
    metrics = Metrics(lambda: waiting[0])
    assert samples(metrics)["personakit_log_rows_behind{}"] == 3
    waiting[0] = 0
    assert samples(metrics)["personakit_log_rows_behind{}"] == 0


def test_every_metric_has_a_help_text_and_no_time_of_creation() -> None:
    metrics = Metrics()
    metrics.refused("full")
    families = list(text_string_to_metric_families(metrics.text()[0].decode()))
    assert len(families) == 8
    for family in families:
        assert family.documentation.endswith(".")
        assert family.name.startswith("personakit_")
        assert family.type != "unknown"
