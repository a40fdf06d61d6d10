"""A small SMTP server (RFC 5321) that takes mail, under TLS if it has a certificate, and refuses what it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from tests.fakes.listener import Listener


@dataclass
class Mail:
    """One message as it was handed in."""

    sender: str
    to: list[str]
    message: EmailMessage
    is_secret: bool
    """Whether it came under TLS."""
    login: tuple[str, str] | None


@dataclass
class MailServer(Listener):
    """Listens on `port`. `answers` gives the answer to a command (`MAIL`, `DATA`) in place of the usual one."""

    context: ssl.SSLContext | None = None
    is_tls_first: bool = False
    answers: dict[str, bytes] = field(default_factory=dict)
    hangs: bool = False
    mails: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self._run, ssl=self.context if self.is_tls_first else None)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            if self.hangs:
                await reader.read()
                return
            writer.write(b"220 fake ESMTP\r\n")
            await self._talk(reader, writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, to, login = "", [], None
        while line := (await reader.readline()).decode().strip():
            word = line.split(" ")[0].upper()
            self.commands.append(word)
            if word in self.answers:
                writer.write(self.answers[word])
                continue
            if word == "EHLO":
                features = b"250-STARTTLS\r\n" if self.context is not None and not self._is_secret(writer) else b""
                writer.write(b"250-fake\r\n" + features + b"250 AUTH PLAIN\r\n")
            elif word == "STARTTLS":
                writer.write(b"220 go\r\n")
                await writer.start_tls(self.context)
            elif word == "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                login = (user, password)
                writer.write(b"235 in\r\n")
            elif word == "MAIL":
                sender = line
                writer.write(b"250 ok\r\n")
            elif word == "RCPT":
                to.append(line.partition("<")[2].partition(">")[0])
                writer.write(b"250 ok\r\n")
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                content = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                message = message_from_bytes(content, policy=policy.default)
                assert isinstance(message, EmailMessage)
                self.mails.append(Mail(sender, to, message, self._is_secret(writer), login))
                writer.write(b"250 taken\r\n")
            elif word == "QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 ok\r\n")

    def _is_secret(self, writer: asyncio.StreamWriter) -> bool:
        return writer.get_extra_info("ssl_object") is not None
