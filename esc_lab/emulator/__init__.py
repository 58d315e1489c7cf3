"""An ESC to practise on: the REST northbound API of the ESC document, with real callbacks.

`chapters` holds the operations as rows of one table; routes (`northbound`), the OpenAPI document (`openapi`), the
coverage table (`coverage`) and the tests follow from them. `models` are the bodies, `codec` reads and writes them.
`esc` and `world` are the ESC itself, `handlers` what each operation does to it, `datamodel` which VMs a deployment has,
`workflows` and `healing` what follows. `engine` lets it happen in its time, `deliveries` posts the callbacks, `store`
keeps the state, `control` is the API under `/emulator`. Messages are written by `esc_lab.simulator`. The receiver
never imports this package, and it knows nothing of how a receiver judges the messages.
"""

from esc_lab.emulator.emulator_server import Emulator, Options, emulating
from esc_lab.emulator.esc import Habits
from esc_lab.emulator.injected_faults import Faults

__all__ = ["Emulator", "Faults", "Habits", "Options", "emulating"]
