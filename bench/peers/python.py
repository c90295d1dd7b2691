"""python3-jsonpatch, asked line by line; the questions are those of javascript.mjs."""

import json
import sys
from time import perf_counter

import jsonpatch

INPUTS = {}


def compact(value):
    """The text of a value, without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def patch(given, n):
    """Applies the n-th patch, text in and text out."""
    operations = json.loads(given["patches"][n % len(given["patches"])])
    document = json.loads(given["document"])
    return compact(jsonpatch.JsonPatch(operations).apply(document, in_place=True))


def diff(given, n):
    """Compares with the n-th changed document, text in and text out."""
    changed = json.loads(given["changed"][n % len(given["changed"])])
    return compact(jsonpatch.make_patch(json.loads(given["document"]), changed).patch)


def diff_values(given, n):
    """Compares with the n-th changed document, values in and operations out."""
    changed = given["changed_values"]
    return jsonpatch.make_patch(given["document_value"], changed[n % len(changed)]).patch


TASKS = {"patch": patch, "diff": diff, "diff_values": diff_values}


def measure(task, given, milliseconds):
    """Calls a task for a while and returns microseconds per call."""
    start = perf_counter()
    elapsed = calls = 0
    while elapsed < milliseconds / 1e3:
        task(given, calls)
        calls += 1
        elapsed = perf_counter() - start
    return elapsed * 1e6 / calls


def read(file):
    """The JSON value in a file."""
    with open(file, encoding="utf-8") as handle:
        return json.load(handle)


def load(size, file):
    """Takes the documents and patches of a size."""
    given = read(file)
    given["document_value"] = json.loads(given["document"])
    given["changed_values"] = [json.loads(text) for text in given["changed"]]
    INPUTS[size] = given
    return "ok"


def answer(words):
    """Answers one line."""
    if words[0] == "versions":
        python = "%d.%d.%d" % sys.version_info[:3]
        return f"python3={python} python3-jsonpatch={jsonpatch.__version__}"
    if words[0] == "load":
        return load(words[1], words[2])
    if words[1] == "size":
        before, after = read(words[2])
        return len(compact(jsonpatch.make_patch(before, after).patch).encode())
    return measure(TASKS[words[1]], INPUTS[words[2]], float(words[3]))


if sys.argv[1:]:
    print(answer(sys.argv[1:]))
else:
    for line in sys.stdin:
        print(answer(line.split()), flush=True)
