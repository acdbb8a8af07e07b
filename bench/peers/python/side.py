"""A side of the bench in Python: answers bench/side.ts over Node's channel, one JSON line a message.

It does not know what the work is.
"""
import json
import os
import socket


def answer(tasks):
    """Does the tasks that are asked for, one after another, until the channel is closed."""
    channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
    with channel.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if "do" not in request:
                continue
            try:
                reply = {"value": tasks[request["do"]](request)}
            except Exception as error:  # told to the other side, which ends the bench with it
                reply = {"error": f"{type(error).__name__}: {error}"}
            channel.sendall((json.dumps(reply) + "\n").encode())


def peak_bytes():
    """The most memory this process had resident, VmHWM."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
