"""The HTTP entry with real programs on both sides; see `run`.

Every check prints a line; the first that fails ends the run with what was seen.
"""

import shutil
import signal

from calls import check_grpc
from crowd import check_crowd
from fidelity import check_fidelity
from files import check_curl
from kill import check_kill, check_kill_grpc
from messages import check_websocket
from nodes import ENDS, PLACE, Node, Tunnel, check, start_nginx


def check_drain(server):
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(timeout=40)
    check("a server that is told to stop drains, and ends well", code == 0, code)


def main():
    with ENDS:
        start_nginx()
        tunnel = Tunnel("tunnel")
        tunnel.have_clients(3)
        check_curl(tunnel)
        check_websocket(tunnel)
        check_grpc(tunnel)
        check_kill(tunnel)
        check_kill_grpc()
        check_drain(tunnel.server)
        tunnel.kill()
        check_crowd()
        check_fidelity()
        panicked = [node.log for node in Node.every if node.says("panicked")]
        check("nobody panicked", not panicked, panicked)
    # Where a check failed it stays, with all logs.
    shutil.rmtree(PLACE)


main()
