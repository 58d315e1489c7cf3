"""`esc-receiver tail`: follows the feed in the terminal, of a receiver or straight from JetStream.

From JetStream it reads with a consumer of its own that leaves nothing behind, and needs no receiver to be up. Either
way it goes on behind the last message it showed when the other side was away. This file must not know how the feed
comes about, nor what reads NATS (`tail_of_nats`).
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import islice
from pathlib import Path

import click
import orjson
from click.core import ParameterSource

from esc_receiver_client import FeedUnreachableError, SyncEscReceiver
from esc_receiver_client.questions import FEED_BEGINNING
from receiver.cli import options
from receiver.cli.endpoints_file import read_endpoints
from receiver.cli.feed_lines import line
from receiver.cli.nats_options import NatsOptions, nats_options
from receiver.errors import SetupError
from receiver.events.subjects import SUBJECTS
from receiver.model.entities import EntityKind
from receiver.model.sanitize import plain

EPILOG = """\b
Examples:
  esc-receiver tail                                  what happens from now on
  esc-receiver tail --from-start --entity vm         all that happened to VMs
  esc-receiver tail --change error --change failed   failures only
  esc-receiver tail --data-dir data --source lab1    of an embedded receiver, from its NATS
  esc-receiver tail --json | jq .to_state            ledger entries (from NATS: CloudEvents), one a line
"""


@click.command("tail", epilog=EPILOG)
@options.url
@options.token
@click.option(
    "--nats-url",
    envvar="ESC_RECEIVER_NATS_URL",
    show_envvar=True,
    help="Read from these NATS servers instead, comma between, unless --url is given.",
)
@options.data_dir("Folder of an embedded receiver; its endpoints.json tells where NATS is.")
@nats_options
@click.option(
    "--subject-prefix",
    envvar="ESC_RECEIVER_SUBJECT_PREFIX",
    default=SUBJECTS,
    show_default=True,
    help="First tokens of the feed's subjects.",
)
@click.option(
    "--stream",
    envvar="ESC_RECEIVER_STREAM_NAME",
    default="ESC",
    show_default=True,
    help="JetStream stream of the feed.",
)
@click.option(
    "--entity",
    multiple=True,
    type=click.Choice([*(kind.value for kind in EntityKind), "callback"]),
    help="Only these; may be given several times, like the next three. NATS alone tells of callbacks not understood.",
)
@click.option("--change", multiple=True, help="Only this new state or note: alive, error, succeeded …")
@click.option("--source", multiple=True, help="Only this ESC instance.")
@click.option("--deployment", multiple=True, help="Only what belongs to this deployment (internal id).")
@click.option("--from-start", is_flag=True, help="First all that is still kept, then what comes.")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="Each message in JSON, one a line; from NATS as a CloudEvent.")
@click.pass_context
def tail_command(
    ctx: click.Context,
    /,
    url: str,
    token: str | None,
    nats_url: str | None,
    data_dir: Path | None,
    nats: NatsOptions,
    subject_prefix: str,
    stream: str,
    from_start: bool,
    limit: int | None,
    as_json: bool,
    **filters: tuple[str, ...],
) -> None:
    """Follow the feed in the terminal, until Ctrl-C.

    It is a receiver's (--url), or the one of a NATS that is named by --nats-url or --data-dir.
    """
    if data_dir:
        nats_url = read_endpoints(data_dir, "nats_url", what="NATS is")["nats_url"]
    elif ctx.get_parameter_source("url") not in (None, ParameterSource.DEFAULT):
        nats_url = None
    try:
        if nats_url is None:
            after = FEED_BEGINNING if from_start else ""
            with SyncEscReceiver(url, token) as client, closing(client.feed(filters, after=after)) as entries:
                for entry in islice(entries, limit):
                    click.echo(plain(orjson.dumps(entry).decode()) if as_json else line(entry))
        else:
            from receiver.cli.tail_of_nats import follow  # noqa: PLC0415 - all that reads NATS is loaded with it

            asyncio.run(
                follow(nats_url, nats, stream, subject_prefix, filters, limit, from_start=from_start, as_json=as_json)
            )
    except KeyboardInterrupt:
        return
    except FeedUnreachableError as error:
        if "SSL" not in str(error):
            raise
        hint = "NATS_CA_FILE says who may sign its certificate, NATS_CERT_FILE what is shown to it"
        raise SetupError(f"{error}; {hint}") from error
