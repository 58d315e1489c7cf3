"""`serve` with TLS: a wrong file is one line and exit status 2; SIGHUP has the files read again."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from asyncio.subprocess import PIPE, Process
from functools import partial
from pathlib import Path

from receiver.embedded.child_process import free_port
from tests.support.certificates import Authority
from tests.support.waiting import until


async def serve(folder: Path, port: int, cert: Path, key: Path) -> Process:
    """The service, without PostgreSQL and NATS, looking for new files once an hour."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ESC_RECEIVER_")}
    settings = {
        "POSTGRES_DSN": "postgresql://esc@127.0.0.1:1/esc", "PORT": port, "DATA_DIR": folder, "TLS_CERT_FILE": cert,
        "TLS_KEY_FILE": key, "TLS_CHECK_S": 3600,
    }  # fmt: skip
    environ |= {f"ESC_RECEIVER_{name}": str(value) for name, value in settings.items()}
    command = (sys.executable, "-m", "receiver", "serve")
    return await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, stderr=PIPE)


async def is_served(port: int, authority: Path) -> bool:
    """Whether the certificate that is shown was signed by this authority."""
    context = ssl.create_default_context(cafile=authority)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except OSError:  # ssl's errors, too
        return False
    writer.close()
    return True


async def test_a_wrong_file_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    """It names the setting and the file; nothing of a traceback."""
    cert, _ = Authority(tmp_path).certify("receiver")
    process = await serve(tmp_path / "data", free_port(), cert, tmp_path / "nothing")
    _, said = await process.communicate()
    assert process.returncode == 2
    lines = [line for line in said.decode().splitlines() if "TLS_KEY_FILE" in line]
    assert len(lines) == 1
    assert f"ESC_RECEIVER_TLS_KEY_FILE: {tmp_path / 'nothing'} cannot be read: No such file or directory" in lines[0]
    assert b"Traceback" not in said


async def test_a_hangup_has_the_files_read_again(tmp_path: Path) -> None:
    """The service goes on, with the new certificate; with a wrong file, too."""
    old, new, port = Authority(tmp_path, "old"), Authority(tmp_path, "new"), free_port()
    cert, key = old.certify("receiver")
    process = await serve(tmp_path / "data", port, cert, key)
    try:
        await until(partial(is_served, port, old.file))
        new.certify("receiver")
        process.send_signal(signal.SIGHUP)
        await until(partial(is_served, port, new.file))
        cert.write_text("nothing")
        process.send_signal(signal.SIGHUP)
        assert await is_served(port, new.file)
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
