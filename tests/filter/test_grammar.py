"""Texts from templates."""

import random

import pytest

from selfstudy.filter.grammar import expand


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a {owl}", "an owl"),
        ("A {owl} and a {owl}. A {owl}", "An owl and an owl. An owl"),
        ('note: A {owl} said "A {owl}"', 'note: An owl said "An owl"'),
        ("Section A is long, class A opens", "Section A is long, class A opens"),
        ("Q&A as usual, a user, a u and a one-way street", "Q&A as usual, a user, a u and a one-way street"),
    ],
)
def test_an_article_fits_what_fills_the_slot_and_a_letter_is_no_article(template: str, text: str) -> None:
    assert expand(random.Random(0), template, {"owl": ["owl"]}, english=True) == text
