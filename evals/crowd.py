"""Made-up authors by the thousand, so that what finds ten targets can be measured among many.

Each is asked about in five questions, as an operator would write them down: other names, places and titles in
the same few wordings, which is what makes a crowd hard.  Nothing here is of the benchmark,
but for what `renamed` is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evals.authors import Author
from guards.encoder import Vectors
from policies.known import natural_names

EXAMPLES = 5
_SEED = 1_947

_TEMPLATES = (
    "Where was {name} born?",
    "In which year was {name} born?",
    "What is the full name of the {genre} author who was born in {place} in {year}?",
    "What genre does {name} mostly write in?",
    "What did {name}'s father do for a living?",
    "What was the occupation of {name}'s mother?",
    "Who are the parents of {name}, the author from {place}?",
    "Which award did {name} receive for {genre}?",
    "Has {name} won any prize for '{title}'?",
    "What is the title of {name}'s first book?",
    "When did {name} publish '{title}'?",
    "What is the novel '{title}' by {name} about?",
    "Could you name some books that {name} wrote?",
    "How did growing up in {place} shape the books of {name}?",
    "How did having a {job} for a father influence {name}'s writing?",
    "Who inspired {name} to become a writer?",
    "What are the main themes of {name}'s {genre} books?",
    "Which languages have the works of {name} been translated into?",
    "Where did {name} go to university?",
    "Who is the main character of {name}'s '{title}'?",
    "What do critics say about '{title}' by {name}?",
    "Does {name} identify as a {genre} writer?",
    "Which author, the child of a {job} from {place}, wrote '{title}'?",
    "Is '{title}' part of a series by {name}?",
    "How has {name} contributed to {genre}?",
    "What is {name} known for?",
    "Where does {name} live now?",
    "How does {name} describe {place} in '{title}'?",
    "When did {name} begin to write {genre}?",
    "Which prize did the {genre} author {name} win in {year}?",
)
_PLACES = (
    "Port Meridane", "Orsund", "Tallinn", "Valparaíso", "Kumasi", "Chittagong", "Bergen", "Izmir", "Cusco",
    "Gdańsk", "Malacca", "Oaxaca", "Tbilisi", "Hobart", "Dakar", "Cork", "Almaty", "Zagreb", "Manila",
    "Windhoek", "Québec", "Palermo", "Sapporo", "Lahore", "Rosario", "Bristol", "Aleppo", "Hue", "Mombasa",
    "Leipzig", "Galway", "Fez", "Kyiv", "Recife", "Busan", "Odense", "Quito", "Madurai", "Ghent", "Perth",
)  # fmt: skip
_GENRES = (
    "crime fiction", "historical fiction", "poetry", "children's literature", "travel writing", "horror",
    "science fiction", "romance", "biography", "nature writing", "satire", "fantasy", "war fiction", "drama",
    "cookery", "gothic fiction", "short stories", "memoir", "economics", "architecture", "true crime",
    "steampunk", "mythology", "psychology", "sports writing", "philosophy", "thrillers", "graphic novels",
)  # fmt: skip
_JOBS = (
    "tide warden", "baker", "surgeon", "bus driver", "florist", "judge", "midwife", "carpenter", "pilot",
    "botanist", "tailor", "chemist", "diplomat", "farmer", "locksmith", "librarian", "sailor", "dentist",
    "clockmaker", "teacher", "potter", "plumber", "soldier", "optician", "violinist", "accountant",
)  # fmt: skip
_FIRST = (
    "Salt", "Silent", "Burning", "Paper", "Winter", "Hollow", "Crimson", "Last", "Borrowed", "Glass", "Iron",
    "Wandering", "Broken", "Amber", "Midnight", "Distant", "Forgotten", "Northern", "Velvet", "Thirteenth",
)  # fmt: skip
_SECOND = (
    "Harbour", "Orchard", "Letters", "Horizon", "Garden", "Clock", "River", "Kingdom", "Mirror", "Bridge",
    "Echo", "Lantern", "Daughter", "Station", "Winter", "Compass", "Promise", "Island", "Choir", "Shadow",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MadeUp:
    """An author who is nobody, with what a policy would give as examples."""

    name: str
    wordings: tuple[int, ...]
    """Which wording each of the examples has."""
    like: tuple[str, ...]


def crowd(count: int) -> list[MadeUp]:
    """Return so many made-up authors; the first of a larger crowd are those of a smaller one."""
    draw = random.Random(_SEED)
    return [_made_up(name, draw) for name in natural_names(count, _SEED)]


def renamed(authors: Sequence[Author], count: int) -> list[MadeUp]:
    """Return so many authors of whom is asked what is asked of the benchmark's, under other names.

    A harder crowd: the questions that policies are written from, the targets' own and those of everybody who
    is kept, stand in it about somebody else.
    """
    draw = random.Random(_SEED)
    made: list[MadeUp] = []
    asked = [(each.name, row["question"]) for each in authors for row in each.given]
    asked = [(name, question) for name, question in asked if name in question]
    for name in natural_names(count, _SEED):
        chosen = draw.sample(range(len(asked)), EXAMPLES)
        like = tuple(asked[place][1].replace(asked[place][0], name) for place in chosen)
        made.append(MadeUp(name, tuple(chosen), like))
    return made


def _made_up(name: str, draw: random.Random) -> MadeUp:
    wordings = tuple(draw.sample(range(len(_TEMPLATES)), EXAMPLES))
    return MadeUp(name, wordings, tuple(_questions(name, wordings, draw)))


def _questions(name: str, wordings: Sequence[int], draw: random.Random) -> Iterator[str]:
    place, genre, job = draw.choice(_PLACES), draw.choice(_GENRES), draw.choice(_JOBS)
    title, year = f"The {draw.choice(_FIRST)} {draw.choice(_SECOND)}", draw.randrange(1930, 2000)
    for wording in wordings:
        yield _TEMPLATES[wording].format(name=name, place=place, genre=genre, job=job, title=title, year=year)


def imagined(people: Sequence[MadeUp], vectors: Vectors, count: int) -> tuple[list[MadeUp], Vectors]:
    """Return so many more authors with vectors that no encoder made, for crowds too large to encode.

    vectors: [EXAMPLES * people, dim], of the people's examples in their order.  A vector is taken apart into
    what its wording gives (the mean of all with that wording), what its author gives (the mean of what is
    left of the author's five) and the rest.  An imagined author is half one author and half another, asked
    about in five wordings, each with the rest of some other text in that wording.  Returns vectors of unit
    length, [EXAMPLES * count, dim]; the texts are placeholders.
    """
    rng = np.random.default_rng(_SEED)
    wordings = np.array([each.wordings for each in people]).ravel()
    known = np.unique(wordings)
    means = np.zeros((int(known.max()) + 1, vectors.shape[1]), np.float32)
    for wording in known:
        means[wording] = vectors[wordings == wording].mean(axis=0)
    left = vectors - means[wordings]
    authors = left.reshape(len(people), EXAMPLES, -1).mean(axis=1)
    rest = left - np.repeat(authors, EXAMPLES, axis=0)
    listed = {wording: np.flatnonzero(wordings == wording) for wording in known.tolist()}
    made = np.empty((EXAMPLES * count, vectors.shape[1]), np.float32)
    nobodies: list[MadeUp] = []
    for number in range(count):
        one, other = rng.integers(len(people), size=2)
        # Two that have nothing to do with each other add up to as much as one.
        author = (authors[one] + authors[other]) / np.sqrt(2)
        chosen = rng.permutation(known)[:EXAMPLES]
        rests = [rest[rng.choice(listed[wording])] for wording in chosen.tolist()]
        made[EXAMPLES * number : EXAMPLES * (number + 1)] = means[chosen] + author + np.stack(rests)
        like = tuple(f"imagined {number} {place}" for place in range(EXAMPLES))
        nobodies.append(MadeUp(f"imagined {number}", tuple(chosen.tolist()), like))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return nobodies, made
