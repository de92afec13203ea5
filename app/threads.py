"""How the threads of a process wait for each other, to be settled before torch is loaded."""

import os


def wait_passively() -> None:
    """Lets threads that wait for others sleep, in place of spinning on a core that another program needs.

    OpenMP reads this from the environment when torch is loaded; what is set there already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
