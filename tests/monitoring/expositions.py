"""Reads an exposition with Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and labels; one that is there twice is an error."""
    found: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    """One sample's."""
    return found[f"reliable_email_{name}", frozenset(labels.items())]


def labelled(found: dict[tuple[str, Labels], float], name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name by the values of their labels, in the order of the labels' names; zeros left out."""
    return {
        tuple(held for _, held in sorted(labels)): number
        for (sample, labels), number in found.items()
        if sample == f"reliable_email_{name}" and number
    }
