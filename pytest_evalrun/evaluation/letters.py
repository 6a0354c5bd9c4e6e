"""The letter of an option in what a model said: forms from the strictest to the loosest; of each the last match wins.

A looser form counts only where no stricter one is there. ``A`` in running text is an article, and never an answer:
a letter must be announced (``answer: X``, ``the answer is X``), marked (bold, boxed), or alone on its line.
"""

from __future__ import annotations

import re

# What may stand around a letter: brackets, quotes, and the marks of Markdown and LaTeX; a few, for a text of thousands
# would take seconds to be no match.
_OPEN = r"[\s*_`\"'“‘(\[{$]{0,12}(?:\\(?:boxed|text|textbf|mathrm|mathbf)\{){0,3}[(*]{0,3}"
_CLOSE = r"[*_`\"'”’)\]}$]{0,12}"
# `A, B` and `A or B` are two answers, which is none.
_ALONE = r"(?!\W{0,3}\s?(?:,|/|&|\band\b|\bor\b)\s*\W{0,3}[A-Z]\b)"
# In running text a letter ends its clause, or goes on with a reason: `A good question` is not about A.
_GOES_ON = r"because|since|as|and|which|with|for|due|not|or|is"

# A line of its own: `ANSWER: B`, `**Answer:** (b).`, `Final answer: B) Paris`.
_STRICT = re.compile(
    rf"^[^\w\n]{{0,20}}(?:final[ \t]+|correct[ \t]+)?answer[*_ \t]*[:：](?!\s*\n){_OPEN}([A-Z]){_ALONE}"
    rf"(?={_CLOSE}[ \t]*(?:[.:;)]|$))",
    re.IGNORECASE | re.MULTILINE,
)
# A sentence, from its word on: `answer is (B)`, `option is B because …`, `boxed{B}`, `Option B is correct`.
_STATED = re.compile(
    r"(?:(?i:answer|option|choice)\b[^.\n:]{0,30}?(?:\b(?i:is|be)\b|[:：=])"
    r"\s{0,3}(?:(?i:option|choice|letter)\s+)?"
    rf"(?:[*_$\"'“]*\(\s*([A-Za-z])\s*\)|[*_$]*\*\*\(?([A-Za-z])\b(?![ '’]\w)|{_OPEN}([A-Z])\b(?!['’]\w)"
    rf"(?={_CLOSE}(?:[.,:;!?)\n]|\s*$|\s+[^\sa-z]|\s+(?:{_GOES_ON})\b))){_ALONE})"
    r"|boxed\{(?:\\text\{)?\(?([A-Za-z])\)?\}"
    r"|(?i:option|choice|answer)\s+\(?([A-Z])\)?\s+(?i:is\s+(?:the\s+)?(?:correct|right|best))\b"
)
# `**B**`, `**(B)**`, `**B) Paris**`; a heading, `**A. First things**`, is none.
_BOLD = re.compile(r"\*\*\(?([A-Z])\)?[.:]?\*\*|\*\*\(?([A-Z])\)[^*\n]*\*\*")
# Nothing else on its line: `B`, `(B)`, `B.`, `$B$`.
_LINE = re.compile(rf"^[ \t*_`\"'(\[{{$]{{0,12}}([A-Z]){_CLOSE}[.:)]?[ \t]*$", re.MULTILINE)
# All that was said is one line: `B) Paris`, `(B) Paris`, `B. Paris`.
_ONLY_LINE = re.compile(r"\s*[*_`(\[]*([A-Z])[*_`]*[)\].:]+[*_`]*[ \t]+[^\n]*\s*")
_WORDS = ("answer", "option", "choice", "boxed")


def letter_in(text: str) -> str | None:
    """The letter that is answered, in upper case, whatever options there are; None where none is."""
    last = _last(_STRICT, text) or _last_stated(text) or _last(_BOLD, text) or _last(_LINE, text)
    if last is not None:
        return str(last[last.lastindex or 0]).upper()
    only = _ONLY_LINE.fullmatch(text)
    return only[1] if only else None


def _last(form: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in form.finditer(text):
        last = match
    return last


def _last_stated(text: str) -> re.Match[str] | None:
    """The last sentence that states a letter: from the end back, for a word is found faster than a sentence."""
    lower = text.lower()
    if len(lower) != len(text):  # of some letters the lower ones are two
        lower = text
    places = {word: lower.rfind(word) for word in _WORDS}
    while (place := max(places.values())) >= 0:
        before = lower[place - 1 : place]
        if not (before.isalnum() or before == "_") and (match := _STATED.match(text, place)):
            return match
        word = max(places, key=lambda word: places[word])
        places[word] = lower.rfind(word, 0, place)
    return None
