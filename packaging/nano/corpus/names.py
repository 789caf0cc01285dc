"""Invented names, so that the model learns to copy and not to recall."""

from __future__ import annotations

import random

STARTS = [
    "b",
    "br",
    "c",
    "ch",
    "cl",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "qu",
    "r",
    "s",
    "sh",
    "sk",
    "sl",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "y",
    "z",
    "th",
    "sp",
]
VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ou", "ee", "oo", "ia"]
ENDS = [
    "n",
    "r",
    "l",
    "s",
    "t",
    "m",
    "k",
    "d",
    "x",
    "sh",
    "nd",
    "rt",
    "lk",
    "ng",
    "ss",
    "th",
    "p",
    "v",
]
NOUNS = [
    "apple",
    "pear",
    "plum",
    "cherry",
    "lemon",
    "bread",
    "cheese",
    "butter",
    "milk",
    "coffee",
    "tea",
    "sugar",
    "rice",
    "pasta",
    "soup",
    "cake",
    "chair",
    "table",
    "lamp",
    "desk",
    "sofa",
    "shelf",
    "mirror",
    "carpet",
    "curtain",
    "window",
    "door",
    "roof",
    "garden",
    "fence",
    "gate",
    "shed",
    "tree",
    "flower",
    "rose",
    "tulip",
    "lawn",
    "path",
    "bench",
    "bridge",
    "river",
    "lake",
    "hill",
    "forest",
    "beach",
    "island",
    "harbour",
    "boat",
    "ship",
    "train",
    "bus",
    "car",
    "bike",
    "truck",
    "plane",
    "ticket",
    "map",
    "bag",
    "box",
    "bottle",
    "cup",
    "plate",
    "bowl",
    "knife",
    "spoon",
    "fork",
    "pan",
    "pot",
    "oven",
    "stove",
    "fridge",
    "phone",
    "radio",
    "camera",
    "laptop",
    "screen",
    "printer",
    "cable",
    "battery",
    "charger",
    "book",
    "letter",
    "stamp",
    "pencil",
    "pen",
    "paper",
    "folder",
    "notebook",
    "poster",
    "picture",
    "card",
    "game",
    "ball",
    "kite",
    "drum",
    "piano",
    "guitar",
    "violin",
    "flute",
    "song",
    "film",
    "museum",
    "theatre",
    "school",
    "office",
    "shop",
    "market",
    "bakery",
    "library",
    "hospital",
    "station",
    "airport",
    "hotel",
    "museum",
    "castle",
    "tower",
    "church",
    "square",
    "street",
    "coat",
    "hat",
    "scarf",
    "shirt",
    "shoe",
    "boot",
    "glove",
    "belt",
    "ring",
    "watch",
    "clock",
    "blanket",
    "pillow",
    "towel",
    "soap",
    "candle",
    "hammer",
    "nail",
    "screw",
    "drill",
    "saw",
    "ladder",
    "rope",
    "bucket",
    "brush",
    "paint",
    "tile",
    "brick",
    "stone",
    "sand",
    "glass",
    "steel",
    "copper",
    "wool",
    "cotton",
    "silk",
    "horse",
    "cow",
    "sheep",
    "goat",
    "hen",
    "duck",
    "dog",
    "cat",
    "rabbit",
    "bird",
    "fish",
    "bee",
]
FIRST = [
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Felix",
    "Grace",
    "Hugo",
    "Ivy",
    "Jonas",
    "Kate",
    "Liam",
    "Maria",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Uma",
    "Victor",
    "Wendy",
    "Yara",
    "Zoe",
    "Ahmed",
    "Mei",
    "Ravi",
    "Ines",
    "Omar",
    "Lena",
    "Jack",
    "Tom",
    "Sara",
    "Peter",
]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def syllable(rng: random.Random) -> str:
    """One syllable."""
    return (
        rng.choice(STARTS) + rng.choice(VOWELS) + (rng.choice(ENDS) if rng.random() < 0.5 else "")
    )


def word(rng: random.Random) -> str:
    """An invented lower-case word of two or three syllables."""
    made = "".join(syllable(rng) for _ in range(rng.choice((2, 2, 3))))
    return made[:11]


def name(rng: random.Random) -> str:
    """An invented proper name."""
    return word(rng).capitalize()


def person(rng: random.Random) -> str:
    """A person: known first name, invented name, or both."""
    roll = rng.random()
    if roll < 0.3:
        return rng.choice(FIRST)
    if roll < 0.6:
        return name(rng)
    return f"{rng.choice(FIRST) if rng.random() < 0.6 else name(rng)} {name(rng)}"


def noun(rng: random.Random) -> str:
    """A common thing, now and then an invented one."""
    return word(rng) if rng.random() < 0.25 else rng.choice(NOUNS)


def plural(thing: str) -> str:
    """A regular plural, good enough for a shopping list."""
    if thing.endswith(("s", "x", "sh", "ch")):
        return thing + "es"
    return thing[:-1] + "ies" if thing.endswith("y") and thing[-2] not in "aeiou" else thing + "s"


def date(rng: random.Random) -> str:
    """A date in one of the usual forms."""
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    return rng.choice((f"{day} {month}", f"{month} {day}", f"{rng.choice(DAYS)}, {day} {month}"))


def clock(rng: random.Random) -> str:
    """A time of day."""
    return f"{rng.randint(7, 21)}:{rng.choice(('00', '15', '30', '45', '10', '20'))}"


def code(rng: random.Random) -> str:
    """A code of letters and digits."""
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVWXZ") for _ in range(rng.choice((1, 2))))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.choice((3, 4))))
    return rng.choice((f"{letters}{digits}", f"{letters}-{digits}", digits))


def integer(rng: random.Random, digits: int = 6) -> int:
    """A positive integer; the number of digits is uniform."""
    n = rng.randint(1, digits)
    return rng.randint(10 ** (n - 1) if n > 1 else 2, 10**n - 1)
