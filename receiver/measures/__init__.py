"""What is measured. `catalogue` lists every metric: name, type, unit, labels with their closed sets, meaning.

`measure` is the form of an entry, `words` holds the sets, `cells` counts, `exposition` writes what was counted. The
collectors are made from the catalogue alone, in `receiver.metrics` (the service) and `receiver.api.measures` (the
windows); `docs/metrics.md` is written from it. `lifecycle` tells what a decision means in figures.
"""
