"""What is asked about a word, a number, or several words."""

from __future__ import annotations

from .list_questions import Kind

WORDS: tuple[Kind, ...] = (
    Kind(
        "reverse",
        (
            "{Reverse|Turn around|Flip|Invert} the {word|text|name} <Q>.",
            "{Write|Spell|Say} {the word |}<Q> {backwards|in reverse|from the end}.",
            "What is {the word |}<Q> {backwards|reversed|spelled backwards}?",
            "Reverse <Q>.",
            "^I want the word <Q> {backwards|in reverse}.",
            "How does <Q> read from right to left?",
        ),
        "'<W>'[::-1]",
        "Reversed: <s>.",
        "word reversed",
    ),
    Kind(
        "length",
        (
            "How {many letters|many characters|long} {are in|has|does|is} {the word |}<Q>{ have|}?",
            "{Count|Tally} the {letters|characters} {in|of} {the word |}<Q>.",
            "{What is|Tell me|Give me} the {length|number of letters} of {the word |}<Q>{?|.}",
            "^The word <Q> has how many {letters|characters}?",
            "Of how many letters does <Q> consist?",
        ),
        "len('<W>')",
        "<W> has <r> letters.",
        "number of letters",
    ),
    Kind(
        "letter",
        (
            "How {many times does the letter|often does the letter|often does} <c> {appear|"
            "occur|show up} in {the word |}<Q>?",
            "How many {times <c> |<c>'s |letters <c> |}are {there |}in {the word |}<Q>{? "
            "I mean the letter <c>.|, the letter <c> I mean?}",
            "{Count|Tally} the {letter|letters} <c> in {the word |}<Q>.",
            "How many <c>'s are {there |}in <Q>?",
        ),
        "'<W>'.count('<c>')",
        "The letter <c> appears <r> times.",
        "count of the letter <c>",
    ),
    Kind(
        "upper",
        (
            "^I want the word <Q> in {capitals|uppercase|capital letters}.",
            "{Write|Put|Spell|Give me} {the word |}<Q> in {capitals|capital letters|upper "
            "case|uppercase|all caps}.",
            "{Uppercase|Capitalise} the word <Q>.",
        ),
        "'<W>'.upper()",
        "In capitals: <s>.",
        "word in capitals",
    ),
    Kind(
        "vowels",
        (
            "How many vowels {are in|are there in|does} {the word |}<Q>{ have|}?",
            "{Count|Tally} the vowels {in|of} {the word |}<Q>.",
        ),
        "sum(c in 'aeiou' for c in '<W>')",
        "<W> has <r> vowels.",
        "number of vowels",
    ),
    Kind(
        "palindrome",
        (
            "Is {the word |}<Q> a palindrome?",
            "{Check|Tell me|Test} {if|whether} {the word |}<Q> is a palindrome.",
        ),
        "'<W>' == '<W>'[::-1]",
        "Palindrome: <r>.",
        "palindrome test",
    ),
)
NUMBERS: tuple[Kind, ...] = (
    Kind(
        "prime",
        (
            "What is the <k><o> prime{ number|}?",
            "{Find|Give me|Tell me|Compute|Name} the <k><o> prime{ number|}.",
            "{Which|What} {number is|prime is} the <k><o> prime?",
            "{Prime number|The prime} {no.|number} <k>{, please.|?}",
            "Which prime comes at place <k>?",
        ),
        "n, p = 0, 1\nwhile n < <k>:\n    p += 1\n    n += all(p % d for d in range(2, p))\np",
        "The <k><o> prime is <r>.",
        "prime number <k>",
    ),
    Kind(
        "fibonacci",
        (
            "What is the <k><o> {fibonacci|Fibonacci} number?",
            "{Find|Give me|Tell me|Compute|Name} the <k><o> {fibonacci|Fibonacci} number.",
            "{Fibonacci|The Fibonacci} number <k>{, please.|?}",
            "Which number is <k><o> in the Fibonacci series?",
        ),
        "a, b = 0, 1\nfor _ in range(<k>):\n    a, b = b, a + b\na",
        "The <k><o> Fibonacci number is <r>.",
        "Fibonacci number <k>",
    ),
    Kind(
        "factorial",
        (
            "What is {the factorial of <k>|<k> factorial|<k>!}{?|?}",
            "{Find|Give me|Compute|Calculate|Evaluate} {the factorial of <k>|<k> factorial}.",
            "{Factorial of <k>|<k>!}{?|, please.}",
        ),
        "from math import factorial\nfactorial(<k>)",
        "<k>! = <r>.",
        "factorial of <k>",
    ),
    Kind(
        "is prime",
        (
            "Is <n> {a prime number|prime|a prime}?",
            "{Check|Tell me|Test|Verify} {if|whether} <n> is {prime|a prime number}.",
        ),
        "all(<n> % d for d in range(2, <n>))",
        "Prime: <r>.",
        "prime test of <n>",
    ),
    Kind(
        "gcd",
        (
            "What is the {gcd|greatest common divisor|highest common factor} of <n> and <m>?",
            "{Find|Compute|Give me} the {gcd|greatest common divisor} of <n> and <m>.",
        ),
        "from math import gcd\ngcd(<n>, <m>)",
        "The greatest common divisor is <r>.",
        "gcd",
    ),
    Kind(
        "lcm",
        (
            "What is the {lcm|least common multiple|smallest common multiple} of <n> and <m>?",
            "{Find|Compute|Give me} the {lcm|least common multiple} of <n> and <m>.",
        ),
        "from math import lcm\nlcm(<n>, <m>)",
        "The least common multiple is <r>.",
        "lcm",
    ),
    Kind(
        "sum to",
        (
            "{What is|Give me|Find} the sum of {all |the |}{numbers|integers} from 1 to <n>{?|.}",
            "{Add up|Sum} {all |the |}{numbers|integers} from 1 {to|up to|through} <n>.",
        ),
        "sum(range(1, <n> + 1))",
        "The sum from 1 to <n> is <r>.",
        "sum from 1 to <n>",
    ),
    Kind(
        "divisors",
        (
            "{What are|List|Give me|Find|Name} {all |}the divisors of <n>{?|.}",
            "Which numbers divide <n>?",
        ),
        "[d for d in range(1, <n> + 1) if <n> % d == 0]",
        "The divisors are <r>.",
        "divisors of <n>",
    ),
    Kind(
        "digits",
        ("What is the {sum of the digits|digit sum} of <n>?", "{Add up|Sum} the digits of <n>."),
        "sum(int(c) for c in str(<n>))",
        "The digit sum is <r>.",
        "digit sum",
    ),
    Kind(
        "binary",
        (
            "{What is|Write|Give me|Show} <n> in binary{?|.}",
            "{Convert|Turn} <n> {to|into} binary.",
        ),
        "bin(<n>)[2:]",
        "In binary: <s>.",
        "binary form",
    ),
    Kind(
        "hex",
        (
            "{What is|Write|Give me|Show} <n> in {hex|hexadecimal}{?|.}",
            "{Convert|Turn} <n> {to|into} {hex|hexadecimal}.",
        ),
        "hex(<n>)[2:]",
        "In hexadecimal: <s>.",
        "hexadecimal form",
    ),
)
TEXTS: tuple[Kind, ...] = (
    Kind(
        "names",
        (
            "{Sort|Order|Arrange} {the {names|words} |}<T>{ alphabetically| by alphabet|}.",
            "{Put|Bring} {the {names|words} |}<T> in alphabetical order.",
        ),
        "sorted(<U>)",
        "In order: <t>.",
        "sorted names",
    ),
    Kind(
        "longest",
        (
            "Which {word|name} is the longest: <T>?",
            "{Find|Tell me|Pick} the longest of <T>.",
            "What is the longest {word|name} {of|in} <T>?",
        ),
        "max(<U>, key=len)",
        "The longest is <s>.",
        "longest word",
    ),
    Kind(
        "first",
        (
            "Which {word|name} {comes|is} first {alphabetically|in the alphabet}: <T>?",
            "What is the alphabetically first {word|name} {of|in} <T>?",
        ),
        "min(<U>)",
        "The first is <s>.",
        "alphabetically first word",
    ),
    Kind(
        "how many",
        (
            "How many {words|names} are {these|there|in the list}: <T>?",
            "Count {these|the} {words|names}: <T>.",
        ),
        "len(<U>)",
        "There are <r>.",
        "count",
    ),
)
