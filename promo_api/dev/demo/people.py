"""The users of the demo: names, ages and countries."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from promo_api.folding import fold

USERS = 5_000
# Of the user whose sign-in the command prints. It is more active than most.
FIRST_EMAIL = "emma.hughes@mail.example"
_FIRST_WEIGHT = 12.0
# Share of the users, first names and surnames, by country.
_COUNTRIES = {
    "GB": (
        26,
        "Oliver Amelia George Isla Harry Ava Jack Freya Noah Lily Charlie Grace Thomas Ruby Oscar Ella",
        "Hughes Walker Wright Turner Bennett Cooper Morgan Clarke Shaw Fletcher Barnes Whitfield Palmer Reid",
    ),
    "US": (
        20,
        "Liam Emma Mason Olivia Ethan Sophia Logan Harper Lucas Chloe Jayden Zoe Wyatt Nora Caleb Stella",
        "Miller Johnson Carter Brooks Ramirez Foster Hayes Sullivan Bryant Coleman Jenkins Perry Russell Long",
    ),
    "DE": (
        15,
        "Lukas Hannah Felix Lena Jonas Mia Maximilian Leonie Finn Clara Moritz Johanna Jan Greta Nils Ida",
        "Müller Schneider Fischer Weber Becker Hoffmann Schäfer Koch Bauer Krüger Wolf Neumann Brandt Lorenz",
    ),
    "FR": (
        12,
        "Louis Camille Hugo Manon Jules Léa Arthur Chloé Gabriel Inès Raphaël Juliette Théo Zoé Maxime Sarah",
        "Martin Bernard Dubois Moreau Laurent Lefèvre Girard Mercier Blanc Guérin Faure Rousseau Gauthier Morel",
    ),
    "ES": (
        8,
        "Hugo Lucía Mateo Sofía Daniel Paula Pablo Carmen Álvaro Alba Diego Irene Marcos Elena Javier Nuria",
        "García Fernández López Sánchez Romero Navarro Torres Domínguez Vázquez Ramos Gil Serrano Molina Ortega",
    ),
    "IT": (
        7,
        "Leonardo Giulia Francesco Aurora Lorenzo Alice Andrea Ginevra Matteo Martina Davide Chiara Marco Sara",
        "Rossi Russo Ferrari Esposito Bianchi Colombo Ricci Marino Greco Conti Gallo Mancini Rizzo Lombardi",
    ),
    "PL": (
        6,
        "Jakub Zuzanna Antoni Julia Szymon Maja Filip Hanna Michał Oliwia Wojciech Alicja Tomasz Kinga",
        "Nowak Kowalska Wiśniewski Zielińska Kamiński Lewandowska Szymański Dąbrowska Kaczmarek Mazur Krawczyk",
    ),
    "NL": (
        4,
        "Daan Emma Sem Julia Bram Tess Lars Sanne Thijs Fleur Ruben Lotte Jesse Anouk",
        "de Jong|Jansen|Bakker|Visser|Smit|Meijer|Mulder|Bos|Vos|Peters|Hendriks|Dekker|Brouwer",
    ),
    "SE": (
        2,
        "William Alice Elias Maja Hugo Elsa Oscar Wilma Axel Ebba Nils Saga",
        "Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Lindberg Holm Bergström",
    ),
}
_LETTERS = str.maketrans({"ł": "l", "ä": "ae", "ü": "ue", "ö": "oe", " ": "", "ß": "ss"})


@dataclass(frozen=True)
class Person:
    """A user. `weight` says how active the user is."""

    id: UUID
    name: str
    surname: str
    email: str
    age: int
    country: str
    weight: float
    joined_at: datetime

    @property
    def country_key(self) -> str:
        """The country, case-folded."""
        return fold(self.country)


def plan_people(random: Random, first: datetime) -> list[Person]:
    """Return the users, who have signed up in the three months before a time."""
    countries = random.choices([*_COUNTRIES], [share for share, *_ in _COUNTRIES.values()], k=USERS - 1)
    people = [_person(random, number, country, first) for number, country in enumerate(countries, 2)]
    joined_at = first - timedelta(days=88)
    emma = Person(new_id(random), "Emma", "Hughes", FIRST_EMAIL, 29, "GB", _FIRST_WEIGHT, joined_at)
    return [emma, *people]


def new_id(random: Random) -> UUID:
    """Return an id that depends on the seed only."""
    return UUID(int=random.getrandbits(128), version=4)


def _person(random: Random, number: int, country: str, first: datetime) -> Person:
    _, names, surnames = _COUNTRIES[country]
    name = random.choice(names.split())
    surname = random.choice(surnames.split("|" if "|" in surnames else " "))
    age = min(max(round(random.gauss(34, 12)), 16), 79)
    # Few are very active.
    weight = min(random.paretovariate(1.6), 10.0)
    joined_at = first - timedelta(days=90 * random.random() ** 1.5)
    email = f"{_ascii(name)}.{_ascii(surname)}{number}@mail.example"
    return Person(new_id(random), name, surname, email, age, country, weight, joined_at)


def _ascii(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name.lower()).translate(_LETTERS))
    return "".join(letter for letter in decomposed if letter.isascii())
