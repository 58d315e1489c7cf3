"""`SyncEscReceiver`: the query API for scripts. `EscReceiver` (`api`) is the same with `await`.

It must not know how answers are shown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

import httpx2

from esc_receiver_client import classes, questions
from esc_receiver_client.errors import UnansweredError, UnknownError


class SyncEscReceiver:
    """One receiver, used as `with SyncEscReceiver("http://…") as api`. All methods raise ApiError and its kinds."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._address = questions.Address(url, token)
        self.url = self._address.url
        self._http = httpx2.Client(**self._address.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # What is. Filters are the API's parameters.

    def deployments(self, **filters: Any) -> Generator[classes.Deployment]:
        """All that match, page after page."""
        return (classes.Deployment.model_validate(item) for item in self.all_items("deployments", **filters))

    def vms(self, **filters: Any) -> Generator[classes.Vm]:
        """All that match."""
        return (classes.Vm.model_validate(item) for item in self.all_items("vms", **filters))

    def resources(self, **filters: Any) -> Generator[classes.Resource]:
        """All that match."""
        return (classes.Resource.model_validate(item) for item in self.all_items("resources", **filters))

    def operations(self, **filters: Any) -> Generator[classes.Operation]:
        """All that match."""
        return (classes.Operation.model_validate(item) for item in self.all_items("operations", **filters))

    def deployments_then(self, at: datetime, **filters: Any) -> Generator[classes.DeploymentThen]:
        """As they were at this time, as far as the ledger tells."""
        asked = self.all_items("deployments", at=at.isoformat(), **filters)
        return (classes.DeploymentThen.model_validate(item) for item in asked)

    def vms_then(self, at: datetime, **filters: Any) -> Generator[classes.VmThen]:
        """As they were."""
        asked = self.all_items("vms", at=at.isoformat(), **filters)
        return (classes.VmThen.model_validate(item) for item in asked)

    def operations_then(self, at: datetime, **filters: Any) -> Generator[classes.OperationThen]:
        """As they were."""
        asked = self.all_items("operations", at=at.isoformat(), **filters)
        return (classes.OperationThen.model_validate(item) for item in asked)

    def transitions(self, **filters: Any) -> Generator[classes.Transition]:
        """The ledger."""
        return (classes.Transition.model_validate(item) for item in self.all_items("transitions", **filters))

    def callbacks(self, **filters: Any) -> Generator[classes.Callback]:
        """What was received."""
        return (classes.Callback.model_validate(item) for item in self.all_items("callbacks", **filters))

    def deployment(self, source: str, deployment: str, *, incarnation: int | None = None) -> classes.DeploymentWithVms:
        """One, with its VMs. Raises UnknownError."""
        answer = self.get("deployments", source, deployment, incarnation=incarnation)
        return classes.DeploymentWithVms.model_validate(answer)

    def vm(self, source: str, vm_name: str, *, deployment: str | None = None) -> classes.VmWithIncarnations:
        """One, with its incarnations. Raises UnknownError."""
        return classes.VmWithIncarnations.model_validate(self.get("vms", source, vm_name, deployment=deployment))

    def operation(self, source: str, transaction_id: str) -> classes.OperationWithProgress:
        """One, as it is now. Raises UnknownError."""
        return classes.OperationWithProgress.model_validate(self.get("operations", source, transaction_id))

    def callback(self, receipt: str) -> classes.CallbackWithHeaders:
        """One, with its headers. Raises UnknownError."""
        return classes.CallbackWithHeaders.model_validate(self.get("callbacks", receipt))

    def raw(self, receipt: str) -> bytes:
        """The bytes of one callback; the token needs the scope `raw`. Raises UnknownError."""
        path = questions.path_of("callbacks", (receipt, "raw"))
        with self._open(path, questions.ANSWER_TIMEOUT_S) as answer:
            return questions.body_of(answer.iter_bytes())

    def explain(self, source: str, vm_name: str, *, deployment: str | None = None) -> classes.Explanation:
        """Why a VM is in its state. Raises UnknownError."""
        return classes.Explanation.model_validate(self.get("explain", source, vm_name, deployment=deployment))

    def stats(self) -> classes.Stats:
        """How many of what are in which state."""
        return classes.Stats.model_validate(self.get("stats"))

    def wait(
        self, source: str | None, transaction_id: str, timeout_s: float = 60.0
    ) -> classes.OperationWithProgress | None:
        """An operation as soon as it has ended, else as it is after `timeout_s`; None when nobody has heard of it.

        Without a source it is looked for at all of them; an error when several have it.
        A receiver that restarts meanwhile is asked on; one that is not there at the start is an error at once.
        """
        until_s = time.monotonic() + timeout_s
        found = self._operation(source, transaction_id, 0)
        while (found is None or found.ended_at is None) and (left_s := until_s - time.monotonic()) > 0:
            try:
                found = self._operation(source, transaction_id, left_s)
            except UnansweredError:
                if until_s - time.monotonic() < questions.RETRY_S:
                    raise
                time.sleep(questions.RETRY_S)
        return found

    def sse(self, *, after: str | None = None, **filters: Any) -> Generator[classes.Transition]:
        """Ledger entries as they happen, for ever; `after`: behind this position, `0-0` is the beginning."""
        return (classes.Transition.model_validate(entry) for entry in self.feed(filters, after=after or ""))

    # As JSON.

    def get(self, path: str, *parts: str, timeout_s: float = questions.ANSWER_TIMEOUT_S, **query: Any) -> Any:
        """The answer to `GET /api/v1/<path>/<parts…>?<query>`."""
        with self._open(questions.path_of(path, parts), timeout_s, query) as answer:
            return self._address.read(questions.body_of(answer.iter_bytes()))

    def post(self, path: str, *parts: str, document: Any, timeout_s: float = questions.ANSWER_TIMEOUT_S) -> Any:
        """The answer to `POST /api/v1/<path>/<parts…>` with this document."""
        where = questions.path_of(path, parts)
        with self._open(where, timeout_s, method="POST", document=document) as answer:
            return self._address.read(questions.body_of(answer.iter_bytes()))

    def post_lines(self, path: str, *parts: str, document: Any, silence_s: float = 600.0) -> Generator[dict[str, Any]]:
        """What `POST /api/v1/<path>/<parts…>` tells while it works, one JSON object a line."""
        where = questions.path_of(path, parts)
        with self._open(where, silence_s, method="POST", document=document) as answer:
            yield from (self._address.read(line.encode()) for line in answer.iter_lines() if line)

    def all_items(self, path: str, limit: int | None = None, **query: Any) -> Generator[dict[str, Any]]:
        """The items of a list, page after page, at most `limit`."""
        cursor, left = None, limit
        while left is None or left > 0:
            answer = self.get(path, **query, **questions.page(left, cursor))
            yield from answer["items"]
            left = None if left is None else left - len(answer["items"])
            if (cursor := answer["next"]) is None:
                return

    def text(self, path: str) -> str:
        """The body of a path outside the API, of a success or a 503."""
        with self._open(path, questions.ANSWER_TIMEOUT_S, statuses=(503,)) as answer:
            return questions.body_of(answer.iter_bytes()).decode("utf-8", "replace")

    def feed(self, filters: Mapping[str, Any], *, after: str = "") -> Generator[dict[str, Any]]:
        """The entries of `sse` as JSON; after a break it goes on behind the last one.

        Raises ApiError when the feed cannot be read at the start.
        """
        position, began, path = after, False, f"{questions.API}/feed"
        while True:
            headers = questions.resumed(position)
            try:
                with self._open(path, questions.FEED_SILENCE_S_MAX, filters, headers) as answer:
                    began = True
                    for event in httpx2.EventSource(answer):
                        position = event.id or position
                        if event.data:
                            yield json.loads(event.data)
            except UnansweredError:
                if not began:
                    raise
            time.sleep(questions.RETRY_S)

    def _operation(
        self, source: str | None, transaction_id: str, wait_s: float
    ) -> classes.OperationWithProgress | None:
        if source is None and (source := self._source(transaction_id)) is None:
            time.sleep(min(questions.RETRY_S, max(0.0, wait_s)))
            return None
        wait = questions.wait_of(wait_s)
        timeout_s = wait + questions.ANSWER_TIMEOUT_S
        try:
            answer = self.get("operations", source, transaction_id, timeout_s=timeout_s, wait=wait)
        except UnknownError:
            return None
        return classes.OperationWithProgress.model_validate(answer)

    def _source(self, transaction_id: str) -> str | None:
        """The one that has spoken of it."""
        return questions.only_source(transaction_id, list(self.all_items("operations", transaction_id=transaction_id)))

    @contextmanager
    def _open(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        statuses: tuple[int, ...] = (),
        method: str = "GET",
        document: Any = None,
    ) -> Iterator[httpx2.Response]:
        """The answer as it comes, which must be a success or of one of `statuses`."""
        asked: dict[str, Any] = {"params": questions.given(query), "headers": headers, "timeout": timeout_s}
        if document is not None:
            asked["json"] = document
        try:
            with self._http.stream(method, self.url + path, **asked) as answer:
                if not answer.is_success and answer.status_code not in statuses:
                    raise self._address.refused(answer, questions.body_of(answer.iter_bytes()))
                yield answer
        except questions.FAULTS as error:
            raise self._address.failed(error) from error
