"""Agents as processes of their own, configured by nothing but their environment."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from support.product import DOUANE, Agent, Product, base_environment
from support.stand_in import PATIENCE_S

QUIET_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


class AgentProcess:
    """A running agent that prints a JSON document a line."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def next(self) -> Any:
        """The next document; fails if the process ends first."""
        line = self._lines.get(timeout=PATIENCE_S)
        if line is None:
            self.process.wait(PATIENCE_S)
            self._readers[1].join(PATIENCE_S)
            raise AssertionError(f"the agent ended with {self.process.returncode}:\n{''.join(self._errors)}")
        return json.loads(line)

    def rest(self) -> list[Any]:
        """All documents that still come; fails unless the process ends with 0."""
        found = []
        while (line := self._lines.get(timeout=PATIENCE_S * 2)) is not None:
            found.append(json.loads(line))
        code = self.process.wait(PATIENCE_S)
        self._readers[1].join(PATIENCE_S)
        assert code == 0, f"the agent ended with {code}:\n{''.join(self._errors)}"
        return found

    def silent(self) -> bool:
        """Whether nothing that was not taken yet has been printed."""
        return self._lines.empty()

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self._errors.extend(lines)


def start_agent(product: Product, agent: Agent, command: Sequence[str], **variables: str) -> AgentProcess:
    """A command with what `douane agent add` says to export."""
    return AgentProcess(command, base_environment(product.home) | agent.environment() | variables)


def start_under_run(product: Product, agent: Agent, command: Sequence[str], **variables: str) -> AgentProcess:
    """A command under `douane run --agent NAME`."""
    words = [DOUANE, "run", "--agent", agent.name, "--home", str(product.home), "--", *command]
    return AgentProcess(words, base_environment(product.home) | variables)


def run_agent(product: Product, agent: Agent, command: Sequence[str], **variables: str) -> list[Any]:
    """All that an agent's command prints."""
    return start_agent(product, agent, command, **variables).rest()
