"""Which paths a guest has, and where they lead, asked of the appliance in questions that start no program there.

A part of the worker: of its `g`, the running appliance, and of nothing else.
"""

# mypy: ignore-errors

import contextlib

LINKS = 40  # on one way, as many as Linux follows


def named(g, patterns, most):
    """(pattern, paths that it names) of each; of all as one, in the same order, where together they name no more than `most`.

    It is one question then: of what stands in braces, glob(7) takes one after the other.
    """
    if len(patterns) > 1:
        with contextlib.suppress(RuntimeError):  # too long an answer
            paths = g.glob_expand("/{" + ",".join(pattern.lstrip("/") for pattern in patterns) + "}")
            if len(paths) <= most:
                return [(", ".join(patterns), paths)]
    return [(pattern, g.glob_expand(pattern)) for pattern in patterns]


def end(g, path, known):
    """Where a path leads, links followed; the path itself where they lead nowhere. `known` keeps {path: what the link there says,
    empty for what is none} for the next question."""
    done, todo, followed = "", path.split("/")[::-1], 0
    while todo:
        word = todo.pop()
        if word in ("", ".", ".."):
            done = done.rpartition("/")[0] if word == ".." else done
            continue
        at = f"{done}/{word}"
        if at not in known:
            (known[at],) = g.readlinklist(done or "/", [word])
        if not known[at]:
            done = at
            continue
        followed += 1
        if followed > LINKS:
            return path
        done = "" if known[at].startswith("/") else done
        todo += known[at].split("/")[::-1]
    return done or "/"
