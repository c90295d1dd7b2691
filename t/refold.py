"""Folds events with python3-jsonpatch and compares with states that were claimed.

Reads JSON from the files that it is given, a value a line:

    ["seed", document]                               what the first event is applied to
    ["event", aggregate_id, version, patch]          in the order of the versions
    ["state", who, aggregate_id, version, document]  who claims that this was the state

prints where the fold is another, without showing documents, and closes with how much it compared.
"""

import copy
import json
import sys

import jsonpatch


def read(files):
    """The seed, the patches of every aggregate, and the claims about each of its versions."""
    seed, patches, claims = None, {}, {}
    for name in files:
        with open(name, encoding="utf-8") as lines:
            for kind, *value in map(json.loads, lines):
                if kind == "seed":
                    (seed,) = value
                elif kind == "event":
                    aggregate, version, patch = value
                    patches.setdefault(aggregate, []).append(patch)
                    assert version == len(patches[aggregate]), f"{aggregate}: no version {version}"
                else:
                    who, aggregate, version, state = value
                    claims.setdefault((aggregate, version), []).append((who, state))
    return seed, patches, claims


def main(files):
    """Folds every aggregate; returns how many claims are wrong."""
    seed, patches, claims = read(files)
    events = compared = wrong = 0
    for aggregate, stream in patches.items():
        state = copy.deepcopy(seed)
        for version, patch in enumerate(stream, 1):
            state = jsonpatch.JsonPatch(patch).apply(state, in_place=True)
            events += 1
            for who, claimed in claims.pop((aggregate, version), ()):
                compared += 1
                if claimed != state:
                    wrong += 1
                    print(f"{aggregate}, version {version}: not what {who} says")
    for (aggregate, version), said in claims.items():
        wrong += len(said)
        print(f"{aggregate}: there is no version {version}, but {said[0][0]} knows it")
    print(f"{events} events folded, {compared} states compared, {wrong} wrong")
    return wrong


sys.exit(main(sys.argv[1:]) != 0)
