"""Compares sequences with those that Andromeda's own loader gave, id by id: `compare.py FILE`, a JSON object a line.

    {"sources": [{"folder", "split", "dataset", "weight"}], "options": {...}, "state": "...", "sequences": epoch's,
     "accounts": [given...], "read": [[position, {...}], ...], "in_order": [[number, {...}], ...]}
"""

import json
import sys

from andromeda_shards import Build, Loader, LoaderState, Source


def check(found, expected, where):
    fields = {
        "ids": found.ids.tolist(),
        "loss": found.loss.tolist(),
        "document_starts": found.document_starts,
        "rows": found.rows,
        "first_token": found.first_token,
        "padding": found.padding,
        "source": found.source,
    }
    for name, value in fields.items():
        assert value == expected[name], f"{where}: {name} is {value}, there {expected[name]}"


def main():
    compared = 0
    builds = {}
    with open(sys.argv[1], encoding="utf-8") as file:
        for number, line in enumerate(file):
            case = json.loads(line)
            sources = []
            for source in case["sources"]:
                folder = source["folder"]
                builds.setdefault(folder, Build(folder))
                sources.append(Source(builds[folder], source["split"], source["dataset"], source["weight"]))
            loader = Loader.mixture(sources, **case["options"])
            assert loader.sequences == case["sequences"], (number, loader.sequences, case["sequences"])
            state = LoaderState.from_json(case["state"])
            position = loader.resume(state)
            assert loader.state(position).to_json() == case["state"], number
            assert [account.given for account in loader.accounts(position)] == case["accounts"], number
            for position, expected in case["read"]:
                check(loader.read(position), expected, f"case {number}, position {position}")
                compared += 1
            for at, expected in case["in_order"]:
                check(loader.read_in_order(at), expected, f"case {number}, sequence {at} in order")
                compared += 1
    print(compared)


if __name__ == "__main__":
    main()
