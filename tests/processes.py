"""Processes beside the one of the tests: forks of it, which start at once."""

import multiprocessing
from multiprocessing.connection import Connection


class Process:
    """A fork that runs ``function(send, *arguments)``; what it sends is received here."""

    def __init__(self, function, *arguments):
        context = multiprocessing.get_context("fork")
        self.messages, other = context.Pipe(duplex=False)
        self.process = context.Process(target=_run, args=(function, other, arguments), daemon=True)
        self.process.start()
        other.close()

    def receive(self):
        """The next message."""
        assert self.messages.poll(60), "the process is silent"
        return self.messages.recv()

    def rest(self) -> list:
        """All messages to the end of the process."""
        found = []
        while True:
            try:
                found.append(self.receive())
            except EOFError:
                return found

    def kill(self) -> None:
        """Ends the process as the system does, without a chance to tidy up."""
        self.process.kill()
        self.process.join(60)

    def wait(self) -> int:
        """The exit code."""
        self.process.join(60)
        return self.process.exitcode


def _run(function, pipe: Connection, arguments):
    function(pipe.send, *arguments)
