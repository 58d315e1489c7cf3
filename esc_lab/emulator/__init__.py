"""An ESC to practise on: the REST northbound API of the ESC document, with real callbacks.

`endpoint_tables` hold the operations as rows; routes (`northbound`), the OpenAPI document (`northbound_openapi`), the
coverage table and the tests follow from them. `models` are the bodies, `codec` reads and writes them. `esc` and `world`
are the ESC itself, `handlers` what each operation does to it, `resource_values` what is known of a resource when,
`datamodel` which VMs and networks a deployment has, `deployment_networks`, `placement`, `wiring`, `workflows` and
`healing` what follows. `engine` lets it happen in its time, `delivery_queue` posts the callbacks,
`world_store` keeps the state, `control` is the API under `/emulator`. Messages are written by `esc_lab.simulator`. The
receiver never imports this package, and it knows nothing of how a receiver judges the messages.
"""

from esc_lab.emulator.emulator_server import Emulator, emulating
from esc_lab.emulator.injected_faults import Faults
from esc_lab.emulator.options import Habits, Options

__all__ = ["Emulator", "Faults", "Habits", "Options", "emulating"]
