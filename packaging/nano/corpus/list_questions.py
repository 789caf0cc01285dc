# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""What is asked about a list of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A question about a list or a word: patterns, code, how to say the answer."""

    name: str
    asks: tuple[str, ...]
    code: str
    says: str
    plan: str


def ask(noun_phrase: str, *more: str) -> tuple[str, ...]:
    """The common ways to ask for a value of the list <L>."""
    n = noun_phrase
    return (
        f"What is {n} of <L>?",
        f"{{Find|Give me|Tell me|Compute|Calculate|Get|Work out|Fetch|Report}} {n} of "
        f"{{these numbers: |the numbers |the list ||}}<L>.",
        f"{{Here are|These are|I have}} {{my|some|the|our}} {{numbers|values|scores|results|"
        f"readings|prices|measurements|marks}}: <L>. {{What is|What's|Give me|Find|Tell me}} {n}{{?|.}}",
        f"{{My|The|Our}} {{scores|values|temperatures|prices|readings|weights|measurements}} "
        f"{{are|were}} <L>. {{What is|What's|Find|I need|Please state}} {n}.",
        f"{{What's|What is}} {n} {{of|for|in}} {{these|this list|the following|the numbers|this "
        f"series}}: <L>?",
        f"<L> - {{what is|what's|give me|find}} {n}?",
        f"{{Use python to|With python,|Using python,|In python,}} {{find|compute|get|give me}} {n} "
        f"of <L>.",
        f"{{Can|Could}} you {{find|compute|tell me|give me|look up}} {n} of <L>?",
        f"^Find {n}. The numbers are <L>.",
        f"^<L>: tell me {n}.",
        f"^I need {n} of the list <L>.",
        f"^Could I get {n} for the values <L>?",
        f"^My numbers are <L>, so what is {n}?",
        f"For the data <L>, what would {n} be?",
        f"Take a look at <L> and report {n}.",
        f"I wrote down <L>; I would like {n}.",
        *more,
    )


LISTS: tuple[Kind, ...] = (
    Kind(
        "mean",
        ask(
            "the {mean|average|mean value|average value}",
            "{Average|Mean} <L>.",
            "Durchschnitt von <L>?",
        ),
        "from statistics import mean\nmean(<P>)",
        "The mean is <r>.",
        "mean",
    ),
    Kind(
        "median",
        ask("the {median|median value|middle value}"),
        "from statistics import median\nmedian(<P>)",
        "The median is <r>.",
        "median",
    ),
    Kind(
        "mode",
        ask("the {mode|most common number|most frequent value}"),
        "from statistics import mode\nmode(<P>)",
        "The mode is <r>.",
        "mode",
    ),
    Kind(
        "sum",
        ask(
            "the {sum|total}",
            "{Add up|Sum|Sum up|Total} {the {numbers|list} |}<L>.",
            "Summe von <L>?",
        ),
        "sum(<P>)",
        "The sum is <r>.",
        "sum",
    ),
    Kind(
        "largest",
        ask(
            "the {largest|biggest|highest|greatest|maximum} {number|value|}",
            "Which {number|one} {is|of these is} the {largest|biggest|highest}: <L>?",
            "{Max|Maximum} of <L>?",
        ),
        "max(<P>)",
        "The largest is <r>.",
        "largest value",
    ),
    Kind(
        "smallest",
        ask(
            "the {smallest|lowest|minimum|least} {number|value|}",
            "Which {number|one} {is|of these is} the {smallest|lowest}: <L>?",
            "{Min|Minimum} of <L>?",
        ),
        "min(<P>)",
        "The smallest is <r>.",
        "smallest value",
    ),
    Kind(
        "range",
        ask("the {range|spread|difference between the largest and the smallest}"),
        "x = <P>\nmax(x) - min(x)",
        "The range is <r>.",
        "range",
    ),
    Kind(
        "count",
        (
            "How many {numbers|values|entries|items} are {in|there in} {the list |this list: "
            "||}<L>?",
            "Count the {numbers|values|entries|elements} {in|of} <L>.",
            "{How long is|What is the length of} the list <L>?",
            "{Here is a list|I have}: <L>. How many {numbers|values|entries} {is that|are there}?",
            "^In the list <L>, how many numbers are there?",
            "What is the count of values in <L>?",
        ),
        "len(<P>)",
        "There are <r> values.",
        "count",
    ),
    Kind(
        "sort",
        (
            "{Sort|Order|Arrange|Put in order} {these numbers: |the list |the numbers ||}<L>"
            "{ in ascending order| from small to large| ascending|}.",
            "{Can|Could} you {sort|order|arrange} <L>{ for me|}?",
            "{Put|Bring} <L> in {ascending |}order.",
            "Sort: <L>",
            "^The list is <L>. Sort it.",
            "Rank <L> from lowest to highest.",
        ),
        "sorted(<P>)",
        "Sorted: <r>.",
        "sorted list",
    ),
    Kind(
        "down",
        (
            "{Sort|Order|Arrange} {the numbers |the list ||}<L> {in descending "
            "order|descending|from large to small|from highest to lowest}.",
            "{Put|Bring} <L> in descending order.",
            "^The list is <L>. Sort it in descending order.",
            "Rank <L> from highest to lowest.",
        ),
        "sorted(<P>, reverse=True)",
        "Sorted downwards: <r>.",
        "list sorted downwards",
    ),
    Kind(
        "reverse",
        (
            "{Reverse|Turn around|Flip} the {list|order of} <L>.",
            "{Write|Give me} <L> {backwards|in reverse order|back to front}.",
        ),
        "<P>[::-1]",
        "Reversed: <r>.",
        "list reversed",
    ),
    Kind(
        "over",
        (
            "^In the list <L>, how many values are {above|greater than} <k>?",
            "How many {of <L>|numbers in <L>|of the numbers <L>|values in <L>} are {over|above|"
            "greater than|larger than|more than|bigger than|higher than} <k>?",
            "{Count|Tally} {the numbers|the values|how many} {in|of} <L> {over|above|greater "
            "than|larger than|exceeding} <k>.",
            "{My|The|Our} {scores|values|temperatures} {are|were} <L>. How many are "
            "{over|above|greater than|larger than|beyond} <k>?",
        ),
        "sum(v > <k> for v in <P>)",
        "<r> of them are over <k>.",
        "count over <k>",
    ),
    Kind(
        "under",
        (
            "^In the list <L>, how many values are {below|less than} <k>?",
            "How many {of <L>|numbers in <L>|of the numbers <L>|values in <L>} are {under|"
            "below|less than|smaller than|lower than} <k>?",
            "{Count|Tally} {the numbers|the values|how many} {in|of} <L> {under|below|less than|"
            "smaller than} <k>.",
            "{My|The|Our} {scores|values|temperatures} {are|were} <L>. How many are "
            "{under|below|less than|lower than} <k>?",
        ),
        "sum(v < <k> for v in <P>)",
        "<r> of them are under <k>.",
        "count under <k>",
    ),
    Kind(
        "even",
        (
            "^In the list <L>, how many numbers are even?",
            "How many {even numbers are in <L>|of <L> are even|numbers in <L> are even}?",
            "{Count|Tally} the even numbers in <L>.",
        ),
        "sum(v % 2 == 0 for v in <P>)",
        "<r> of them are even.",
        "count of even numbers",
    ),
    Kind(
        "odd",
        (
            "^In the list <L>, how many numbers are odd?",
            "How many {odd numbers are in <L>|of <L> are odd|numbers in <L> are odd}?",
            "{Count|Tally} the odd numbers in <L>.",
        ),
        "sum(v % 2 == 1 for v in <P>)",
        "<r> of them are odd.",
        "count of odd numbers",
    ),
    Kind(
        "unique",
        (
            "How many {different|distinct|unique} {numbers|values} are {there |}in <L>?",
            "{Count|Tally} the {distinct|different|unique} {numbers|values} {in|of} <L>.",
        ),
        "len(set(<P>))",
        "There are <r> different values.",
        "count of different values",
    ),
    Kind(
        "unique list",
        (
            "{Remove|Drop|Delete} {the |}duplicates {from|in} <L>.",
            "{What are|List|Give me} the {unique|distinct|different} {numbers|values} "
            "{in|of} <L>{?|.}",
        ),
        "sorted(set(<P>))",
        "Without duplicates: <r>.",
        "list without duplicates",
    ),
    Kind(
        "squares",
        ask("the sum of {the |}squares"),
        "sum(v * v for v in <P>)",
        "The sum of squares is <r>.",
        "sum of squares",
    ),
    Kind(
        "product",
        ask("the product"),
        "from math import prod\nprod(<P>)",
        "The product is <r>.",
        "product",
    ),
    Kind(
        "times",
        (
            "How {often|many times} {does|is} <k> {appear |occur |}in <L>?",
            "{Count|Tally} {how often <k> appears in|the <k>s in} <L>.",
        ),
        "<P>.count(<k>)",
        "<k> appears <r> times.",
        "count of <k>",
    ),
)
