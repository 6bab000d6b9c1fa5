"""An agent: the SDK's own client, which speaks over stdio with a real process of `promptry mcp`."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import ClientSession, StdioServerParameters, stdio_client
from served import COMMAND, child_environment


class Agent(NamedTuple):
    """A client that is connected, the thread that it runs in, and what the server said on stderr."""

    portal: BlockingPortal
    session: ClientSession
    errors: IO[str]
    began: Any

    def wait(self, function: Any, *arguments: Any) -> Any:
        """Call an async function of the session and return what it gives."""
        return self.portal.call(function, *arguments)

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.portal.call(self.session.call_tool, tool, arguments)

    def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured answer of a tool, which is the same as its text."""
        result = self.call(tool, **arguments)
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content  # type: ignore[no-any-return]

    def refusal(self, tool: str, **arguments: Any) -> str:
        """Return the sentence with which a tool refuses."""
        result = self.call(tool, **arguments)
        assert result.is_error and result.structured_content is None
        return result.content[0].text  # type: ignore[no-any-return]

    @property
    def tools(self) -> dict[str, Any]:
        return {tool.name: tool for tool in self.portal.call(self.session.list_tools).tools}

    def said(self) -> str:
        """Return what the server has said on stderr so far."""
        self.errors.seek(0)
        return self.errors.read()


@contextlib.contextmanager
def connect_agent(
    *words: Any, folder: Path | None = None, command: tuple[str, ...] = COMMAND, **env: str
) -> Iterator[Agent]:
    """Start `promptry mcp` with some words and connect a client to it until the block ends."""
    told = [*command[1:], "mcp", *map(str, words)]
    parameters = StdioServerParameters(command=command[0], args=told, env=child_environment(**env), cwd=folder)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors, start_blocking_portal() as portal:
        streams = portal.wrap_async_context_manager(stdio_client(parameters, errlog=errors))
        with streams as (incoming, outgoing):
            session = ClientSession(incoming, outgoing)
            with portal.wrap_async_context_manager(session):
                began = portal.call(session.initialize)
                yield Agent(portal, session, errors, began)
