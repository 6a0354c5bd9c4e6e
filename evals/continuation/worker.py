# ruff: noqa: ANN001, ANN201, B905, I002, PTH103, PTH118, PTH123
# Without annotations and with plain open(), as programs of this kind are written.
"""Continue sequences of numbers: a range worker as its users run it by hand, without knowing of any harness.

    python worker.py --input_path data/sequences.csv --output_path out --low 0 --high 100

For each id from --low up to, not including, --high it writes one row a rule that explains the whole sequence: none,
one, or several with their different continuations.
"""

import argparse
import csv
import os
from fractions import Fraction


def polynomial(terms, most):
    """Differences of differences, until they are all the same."""
    rows = [terms]
    while len(set(rows[-1])) > 1 and len(rows) <= most + 1:
        rows.append([after - before for before, after in zip(rows[-1], rows[-1][1:])])
    if len(rows[-1]) < 2 or len(set(rows[-1])) > 1 or len(rows) > most + 1:
        return None
    return sum(row[-1] for row in rows)


def recurrence(terms, most):
    """The shortest rule `a[n] = c1 a[n-1] + … + ck a[n-k]` (Berlekamp and Massey, in fractions)."""
    rule, before, shift, discrepancy, length = [Fraction(1)], [Fraction(1)], 1, Fraction(1), 0
    for place in range(len(terms)):
        wrong = sum(rule[i] * terms[place - i] for i in range(min(length, len(rule) - 1) + 1))
        if not wrong:
            shift += 1
            continue
        kept, factor = list(rule), wrong / discrepancy
        rule += [Fraction(0)] * (len(before) + shift - len(rule))
        for i, term in enumerate(before):
            rule[i + shift] -= factor * term
        if 2 * length <= place:
            length, before, discrepancy, shift = place + 1 - length, kept, wrong, 1
        else:
            shift += 1
    if not 0 < length <= most or 2 * length >= len(terms):
        return None
    return -sum(rule[i] * terms[len(terms) - i] for i in range(1, min(length, len(rule) - 1) + 1))


def alternating(terms, most):
    """Two sequences taken in turn."""
    return polynomial(terms[len(terms) % 2 :: 2], min(most, 1))


RULES = (polynomial, recurrence, alternating)


def continuations(text, most):
    terms = [int(term) for term in text.split()]
    for rule in RULES:
        found = rule(terms, most)
        if found is not None and found == int(found):
            yield rule.__name__, int(found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--input_path", required=True)
    parser.add_argument("--output_path", required=True)
    parser.add_argument("--low", type=int, required=True)
    parser.add_argument("--high", type=int, required=True)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--most", type=int, default=3, help="highest degree, longest recurrence")
    args = parser.parse_args()
    name = f"[Worker {args.low}-{args.high}]"
    print(f"{name} Loading input data...", flush=True)
    with open(args.input_path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if args.low <= int(row["data_id"]) < args.high]
    os.makedirs(args.output_path, exist_ok=True)
    path = os.path.join(args.output_path, f"generation_results_data_{args.low}_to_{args.high}_real.csv")
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["data_id", "rule", "continuation"])
        for start in range(0, len(rows), args.batch_size):
            batch = rows[start : start + args.batch_size]
            written = 0
            for row in batch:
                for rule, term in continuations(row["sequence"], args.most):
                    table.writerow([row["data_id"], rule, term])
                    written += 1
            file.flush()
            print(f"{name} Generated {written} continuations for {len(batch)} sequences", flush=True)
    print(f"{name} Saved results to {path}", flush=True)


if __name__ == "__main__":
    main()
