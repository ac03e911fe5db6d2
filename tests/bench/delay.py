#!/usr/bin/env python3
"""A long way between two network namespaces, for kernels that have no netem: delay.py MS NEAR FAR [MTU]

Joins the namespaces NEAR (10.20.0.1) and FAR (10.20.0.2) by two TUN devices and holds every packet back for MS
milliseconds each way. Packets have at most MTU bytes, 1,500 by default; larger ones let more bytes through, because
this program pays for each packet: 0.13 GB/s with 1,500 bytes, 0.5 with 9,000, 1 with 65,000. The delay is the same for all, so one queue keeps the packets of both directions in order.
Says `ready` when the way is open. At the end (SIGTERM, Ctrl-C) it says how many packets went, how much later than
meant they went on, and how many were dropped. Needs root. See rtt.sh, which makes the namespaces.
"""

import collections
import fcntl
import gc
import os
import select
import signal
import struct
import subprocess
import sys
import time

DEVICE = "/dev/net/tun"

# From <linux/if_tun.h>.
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

# Bytes of a packet, unless another number is asked for.
MTU = 1500

# Packets on their way. More than this is a load for which this program is not made: at 10 ms, 800,000 a second.
PACKETS_MAX = 8192

# Packets read from a device before those that are due are sent: less than a wake-up takes anyhow.
BATCH = 16

# Lateness is counted in steps of so many seconds.
LATENESS_STEP = 10e-6


def end(name, namespace, address, mtu):
    """Makes a TUN device, moves it to its namespace and gives it its address; returns its descriptor."""
    device = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        f"ip link set {name} netns {namespace}",
        f"ip -n {namespace} address add {address}/30 dev {name}",
        f"ip -n {namespace} link set {name} mtu {mtu} txqueuelen {PACKETS_MAX} up",
    ):
        subprocess.run(command.split(), check=True)
    return device


def hurry():
    """Asks to be woken on time: a real-time process is not kept waiting by others, nor by timer slack."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        print(f"delay.py: no real-time priority ({error}): the delay will be less exact", file=sys.stderr)
        with open("/proc/self/timerslack_ns", "w") as slack:
            slack.write("1")
    gc.disable()


class Way:
    """The packets between two devices."""

    def __init__(self, near, far, delay, mtu):
        self.other = {near: far, far: near}
        self.mtu = mtu
        self.delay = delay
        # (when due, where to, packet), in the order of both.
        self.queue = collections.deque()
        self.lateness = collections.Counter()
        self.dropped = 0

    def run(self):
        """Carries packets until a signal ends it."""
        devices = list(self.other)
        while True:
            wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else None
            for device in select.select(devices, [], [], wait)[0]:
                self.take(device)
            self.send()

    def take(self, device):
        """Reads what waits at a device, up to a batch."""
        for _ in range(BATCH):
            try:
                packet = os.read(device, self.mtu)
            except BlockingIOError:
                return
            if len(self.queue) < PACKETS_MAX:
                self.queue.append((time.monotonic() + self.delay, self.other[device], packet))
            else:
                self.dropped += 1

    def send(self):
        """Sends what is due."""
        while self.queue and self.queue[0][0] <= (now := time.monotonic()):
            due, device, packet = self.queue.popleft()
            try:
                os.write(device, packet)
            except OSError:
                self.dropped += 1
            else:
                self.lateness[int((now - due) / LATENESS_STEP)] += 1

    def report(self):
        """What became of the packets, in a line."""
        sent = self.lateness.total()
        marks = {}
        passed = 0
        for step in sorted(self.lateness):
            passed += self.lateness[step]
            for percent in (50, 99, 100):
                if passed * 100 >= sent * percent:
                    marks.setdefault(percent, (step + 1) * LATENESS_STEP * 1e3)
        late = ", ".join(f"p{percent} {mark:.2f} ms" for percent, mark in marks.items())
        return f"the way: {sent} packets, each late by less than {late or 'nothing'}; {self.dropped} dropped"


def stop(_signal, _frame):
    raise KeyboardInterrupt


def main():
    delay, near, far = float(sys.argv[1]) / 1e3, sys.argv[2], sys.argv[3]
    mtu = int(sys.argv[4]) if len(sys.argv) > 4 else MTU
    signal.signal(signal.SIGTERM, stop)
    name = f"adit{os.getpid()}"
    devices = end(f"{name}n", near, "10.20.0.1", mtu), end(f"{name}f", far, "10.20.0.2", mtu)
    way = Way(*devices, delay, mtu)
    hurry()
    print("ready", flush=True)
    try:
        way.run()
    except KeyboardInterrupt:
        print(way.report(), file=sys.stderr)


if __name__ == "__main__":
    main()
