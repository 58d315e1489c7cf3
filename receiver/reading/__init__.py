"""The commands that read a running receiver through its query API: status, deployments, vms, operations, explain.

`client` asks, `options` are what all of them take, and each of the other files shows one kind of answer. They need
nothing but the receiver's URL, so they run wherever the package is installed.
"""

from receiver.reading.explain import explain_command
from receiver.reading.lists import deployments_command, vms_command
from receiver.reading.operations import operations_command
from receiver.reading.status import status_command

COMMANDS = (deployments_command, explain_command, operations_command, status_command, vms_command)

__all__ = ["COMMANDS"]
