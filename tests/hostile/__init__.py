"""A hostile sender: inputs made to starve, blind, fill or outlive the service, run against all of it.

`corpus` names them (`bodies`, `heads`); `service` is the whole service in a process of its own, with a watcher of its
loop; `trial` sends, beside a bystander who posts ordinary callbacks; `test_hostile` judges; `make hostile` prints the
figures. Whoever finds a new one adds it to the corpus, with its neighbours.
"""
