"""Make data/sql.jsonl and data/files.jsonl; run by hand, what it writes is committed, the same bytes each time.

What is wanted is worked out here on lists and dictionaries, never by what an agent would do.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
SEED = 14
ITEMS = ("pen", "lamp", "chair", "desk", "cup", "rope", "bell", "brush", "clock", "kettle", "mirror", "ladder")
CITIES = ("Graz", "Turin", "Lyon", "Ghent", "Porto")
NAMES = ("Ada", "Ben", "Cleo", "Dana", "Emil", "Faye", "Gus", "Hana", "Ivo", "Jo", "Kim", "Lev")
WORDS = ("harvest", "invoice", "compass", "lantern", "orchard", "granite", "whistle", "meadow", "copper", "anchor")
FILE_NAMES = ("alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa", "theta")

Rows = list[list[Any]]
Tree = dict[str, Any]


# --- SQL: stock (item, price, amount) and people (name, city, age) ----------------------------------------------------


def _set(chance: random.Random, stock: Rows, _: Rows) -> tuple[str, dict[str, Rows]]:
    item, price = chance.choice(stock)[0], chance.randint(50, 99)
    wanted = [[name, price if name == item else old, amount] for name, old, amount in stock]
    return f"Set the price of the item {item} to {price}.", {"stock": wanted}


def _below(chance: random.Random, stock: Rows, _: Rows) -> tuple[str, dict[str, Rows]]:
    least = sorted(row[2] for row in stock)[chance.randint(1, 4)]
    return f"Delete all items of which the amount is below {least}.", {"stock": [r for r in stock if r[2] >= least]}


def _add(chance: random.Random, stock: Rows, _: Rows) -> tuple[str, dict[str, Rows]]:
    item = chance.choice([item for item in ITEMS if item not in {row[0] for row in stock}])
    row = [item, chance.randint(1, 40), chance.randint(1, 40)]
    return f"Add the item {item} with price {row[1]} and amount {row[2]}.", {"stock": [*stock, row]}


def _raise(chance: random.Random, stock: Rows, _: Rows) -> tuple[str, dict[str, Rows]]:
    most, by = sorted(row[1] for row in stock)[chance.randint(2, 4)], chance.randint(2, 9)
    wanted = [[item, price + by if price < most else price, amount] for item, price, amount in stock]
    return f"Raise the price of every item that costs less than {most} by {by}.", {"stock": wanted}


def _count(_: random.Random, __: Rows, people: Rows) -> tuple[str, dict[str, Rows]]:
    cities = {city: sum(row[1] == city for row in people) for city in {row[1] for row in people}}
    question = "Make a table inhabitants with the columns city and number: each city, and how many people live there."
    return question, {"inhabitants": [[city, cities[city]] for city in sorted(cities)]}


def _cheapest(_: random.Random, stock: Rows, __: Rows) -> tuple[str, dict[str, Rows]]:
    cheapest = min(row[1] for row in stock)
    return "Delete the item with the lowest price.", {"stock": [row for row in stock if row[1] != cheapest]}


def _swap(chance: random.Random, stock: Rows, _: Rows) -> tuple[str, dict[str, Rows]]:
    first, second = chance.sample(stock, 2)
    prices = {first[0]: second[1], second[0]: first[1]}
    wanted = [[item, prices.get(item, price), amount] for item, price, amount in stock]
    return f"Let the items {first[0]} and {second[0]} swap their prices.", {"stock": wanted}


SQL_KINDS: list[Callable[..., tuple[str, dict[str, Rows]]]] = [_set, _below, _add, _raise, _count, _cheapest, _swap]


def sql_samples(chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        prices = chance.sample(range(1, 40), 8)
        stock = [
            [item, price, chance.randint(1, 30)] for item, price in zip(chance.sample(ITEMS, 8), prices, strict=True)
        ]
        people = [[name, chance.choice(CITIES), chance.randint(18, 80)] for name in chance.sample(NAMES, 9)]
        question, changed = SQL_KINDS[index % len(SQL_KINDS)](chance, stock, people)
        yield {
            "index": index,
            "question": f"There are the tables stock (item, price, amount) and people (name, city, age). {question}",
            "tables": {
                "stock": {"columns": ["item", "price", "amount"], "rows": stock},
                "people": {"columns": ["name", "city", "age"], "rows": people},
            },
            "wanted": {"stock": stock, "people": people} | changed,
        }


# --- files ------------------------------------------------------------------------------------------------------------


def _write(chance: random.Random, tree: Tree) -> str:
    word, name = chance.choice(WORDS), chance.choice(FILE_NAMES)
    tree["notes"][f"{name}.txt"] = word
    return f"Write the word {word} into the file /notes/{name}.txt."


def _rename(chance: random.Random, tree: Tree) -> str:
    old = chance.choice(sorted(tree["inbox"]))
    tree["inbox"]["first.txt"] = tree["inbox"].pop(old)
    return f"Rename the file /inbox/{old} to first.txt."


def _move_all(chance: random.Random, tree: Tree) -> str:
    end = chance.choice([".log", ".tmp"])
    tree["old"] = {name: tree["work"].pop(name) for name in sorted(tree["work"]) if name.endswith(end)}
    return f"Make the directory /old and move every {end} file of /work there."


def _remove_empty(_: random.Random, tree: Tree) -> str:
    tree["inbox"] = {name: text for name, text in tree["inbox"].items() if text}
    return "Remove every file of /inbox that is empty."


def _search(chance: random.Random, tree: Tree) -> str:
    name = chance.choice([name for name, text in sorted(tree["inbox"].items()) if text])
    word = tree["inbox"][name]
    tree["notes"][name] = tree["inbox"].pop(name)
    return f"One file of /inbox has the word {word} in it. Move it to /notes."


def _list(_: random.Random, tree: Tree) -> str:
    names = [name for name in sorted(tree["work"]) if isinstance(tree["work"][name], str)]
    tree["index.txt"] = " ".join(names)
    return "Write the names of the files in /work into /index.txt, in alphabetical order, with blanks between them."


def _remove_below(_: random.Random, tree: Tree) -> str:
    for directory in (tree["work"], tree["work"]["parts"]):
        for name in [name for name in directory if name.endswith(".tmp")]:
            del directory[name]
    return "Remove every .tmp file that is anywhere below /work."


FILE_KINDS = [_write, _rename, _move_all, _remove_empty, _search, _list, _remove_below]


def file_samples(chance: random.Random, count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        words = [*chance.sample(WORDS, 4), ""]
        chance.shuffle(words)
        inbox = {f"{name}.txt": word for name, word in zip(chance.sample(FILE_NAMES, 5), words, strict=True)}
        ends = [".log", ".log", ".tmp", ".tmp", ".csv"]
        work = {f"{name}{end}": "" for name, end in zip(chance.sample(FILE_NAMES, 5), ends, strict=True)}
        parts = {f"{chance.choice(FILE_NAMES)}{end}": "" for end in (".tmp", ".csv")}
        tree: Tree = {"inbox": inbox, "work": work | {"parts": parts}, "notes": {}}
        wanted = copy.deepcopy(tree)
        question = FILE_KINDS[index % len(FILE_KINDS)](chance, wanted)
        yield {"index": index, "question": question, "tree": tree, "wanted": wanted}


def main() -> None:
    (HERE / "data").mkdir(exist_ok=True)
    for name, make in (("sql", sql_samples), ("files", file_samples)):
        lines = [json.dumps(sample) + "\n" for sample in make(random.Random(SEED), 20)]  # noqa: S311 - no secrets
        (HERE / "data" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
