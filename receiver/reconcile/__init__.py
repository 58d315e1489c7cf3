"""Asking each ESC what its callbacks did not tell: the questions, the sweeps, and what is written of the answers.

`esc_client` asks, `questions` turns answers into what the lifecycle judges, `answer_store` reads what is known and
writes what an answer changed, `sweep` is one turn through one ESC, `reconciler` says when. Must not know how an answer
is judged (`lifecycle.answer`), nor routes.
"""
