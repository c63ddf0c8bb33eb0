"""Figures that other pages quote are those of docs/benchmarks.md."""

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.pages import page

_BENCHMARKS = page("docs/benchmarks.md")
_NUMBER = r"([\d.,]+)"


class Quote(NamedTuple):
    """A sentence of a page, and how its figures are computed from docs/benchmarks.md.

    Attributes:
        page: that quotes.
        words: a pattern with a group for each figure.
        figures: returns the figures as they must be quoted.
    """

    page: str
    words: str
    figures: Callable[[], list[str]]


def _rate(operation: str) -> float:
    """Return our requests per second of an operation in the throughput table."""
    match = re.search(rf"^{operation} +(\d+) ", _BENCHMARKS, re.MULTILINE)
    assert match is not None, operation
    return float(match[1])


def _profile(request: str) -> list[str]:
    """Return the processor time of a worker and of PostgreSQL for a request, as the page writes them."""
    match = re.search(rf"^\| {request} \| ([\d,]+) \| ([\d,]*)", _BENCHMARKS, re.MULTILINE)
    assert match is not None, request
    return [match[1], match[2]]


def _memory() -> list[str]:
    """Return the memory of a worker at the end of the run, and its shared part, in MB."""
    rows = re.findall(r"^ +\d+ +\d+ +([\d.]+) +[\d.]+ +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+$", _BENCHMARKS, re.MULTILINE)
    rss, uss = map(float, rows[-1])
    return [f"{rss:.0f}", f"{rss - uss:.0f}"]


def _overload() -> list[str]:
    """Return the slowest ping and honest request in ms, and the smallest share of sign-ins served."""
    rows = re.findall(
        r"^[a-z-]+ +(\d+) +\d+ +(\d+) +\d+ +(\d+) +([\d.]+)% .* met$",
        _BENCHMARKS.partition("## Overload")[2],
        re.MULTILINE,
    )
    assert len(rows) == 12
    pings, profiles, activations, served = zip(*rows, strict=True)
    return [str(max(map(int, pings))), str(max(map(int, profiles + activations))), min(served, key=float)]


def _campaign() -> list[str]:
    """Return the example of a campaign: requests per second, and the part of the machine that they need."""
    wanted, feeds, activations = 20_000 // 60, _rate("feed"), _rate("activate-hot")
    part = 100 * (wanted / feeds + wanted / activations)
    return [f"{wanted}", f"{wanted}", f"{feeds:.0f}", f"{wanted}", f"{activations:.0f}", f"{part:.0f}"]


def _layer(application: str) -> float:
    """Return the requests per second in the table of the contract layer."""
    match = re.search(rf"^{application} +(\d+) ", _BENCHMARKS, re.MULTILINE)
    assert match is not None, application
    return float(match[1])


def _feed_growth() -> list[str]:
    match = re.search(r"^feed, first page +[\d.]+ +[\d.]+ +([\d.]+) ", _BENCHMARKS, re.MULTILINE)
    assert match is not None
    return [match[1]]


QUOTES = [
    Quote(
        "docs/deployment.md",
        rf"{_NUMBER} profiles, {_NUMBER} feeds, {_NUMBER} activations, {_NUMBER} new promos, {_NUMBER} sign-ins",
        lambda: [f"{_rate(name):,.0f}" for name in ("profile", "feed", "activate-hot", "create", "sign-in")],
    ),
    Quote(
        "docs/deployment.md",
        rf"worker per request \| {_NUMBER} µs for a profile, {_NUMBER} µs for an activation, {_NUMBER} µs for a",
        lambda: [_profile(name)[0] for name in ("profile", "activation, many promos", "new promo")],
    ),
    Quote(
        "docs/deployment.md",
        rf"PostgreSQL per request \| {_NUMBER} µs for a profile, {_NUMBER} µs for an activation",
        lambda: [_profile(name)[1] for name in ("profile", "activation, many promos")],
    ),
    Quote("docs/deployment.md", rf"\| {_NUMBER} MB, including {_NUMBER} MB shared", _memory),
    Quote("docs/deployment.md", rf"\| {_NUMBER} times the time with 1,000", _feed_growth),
    Quote(
        "docs/deployment.md",
        rf"minute: {_NUMBER} of each per second, {_NUMBER}/{_NUMBER} \+ {_NUMBER}/{_NUMBER} = {_NUMBER} %",
        _campaign,
    ),
    Quote(
        "docs/security.md",
        rf"slowest ping took {_NUMBER} ms, the slowest honest request {_NUMBER} ms, and at least {_NUMBER}% of",
        _overload,
    ),
    Quote("docs/security.md", rf"two cores compute {_NUMBER} a second", lambda: [f"{_rate('sign-in'):.0f}"]),
    Quote(
        "docs/decisions/0001-own-contract-layer.md",
        rf"served {_NUMBER} requests per second where a plain Flask view served {_NUMBER}\.",
        lambda: [f"{_layer(name):,.0f}" for name in ("stock FlaskApp", "plain Flask view")],
    ),
    Quote(
        "docs/decisions/0001-own-contract-layer.md",
        rf"serves {_NUMBER} times as many",
        lambda: [f"{_layer('our layer') / _layer('stock FlaskApp'):.1f}"],
    ),
    Quote(
        "docs/decisions/0005-coalescing.md",
        rf"served at {_NUMBER} activations per second, and many promos at {_NUMBER}\.",
        lambda: [f"{_rate(name):.0f}" for name in ("activate-hot", "activate-spread")],
    ),
    Quote("docs/decisions/0006-exact-totals-by-prefix-sums.md", rf"takes {_NUMBER} times the time", _feed_growth),
]
# Phrases that docs/benchmarks.md has as well.
PHRASES = [
    ("docs/decisions/0002-thread-pools.md", "30 % more profiles"),
    ("docs/decisions/0002-thread-pools.md", "20 % more activations"),
    ("docs/decisions/0002-thread-pools.md", "20 to 40"),
    ("docs/decisions/0003-compiled-statements.md", "0.3 to 0.7 ms"),
    ("docs/decisions/0003-compiled-statements.md", "half of the processor time of a statement"),
    ("docs/decisions/0001-own-contract-layer.md", "0.03 ms"),
]


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: f"{quote.page}: {quote.words[:30]}")
def test_figures_are_those_of_the_benchmarks(quote: Quote) -> None:
    """Each quoted figure is the measured one, or computed from measured ones."""
    text = " ".join(page(quote.page).split())
    match = re.search(quote.words, text)
    assert match is not None, quote.words
    assert list(match.groups()) == quote.figures()


@pytest.mark.parametrize(("name", "phrase"), PHRASES)
def test_phrases_are_those_of_the_benchmarks(name: str, phrase: str) -> None:
    """A quoted phrase is the same in both pages."""
    texts = [" ".join(text.split()).lower() for text in (page(name), _BENCHMARKS)]
    assert all(phrase.lower() in text for text in texts)
