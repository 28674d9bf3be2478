"""The scripted server is correct by itself, and wrong exactly as it is told."""

import base64
import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reliable_email.testing.certificates import client_context, defective, good, server_context
from reliable_email.testing.server import (
    Action,
    Conversation,
    Ending,
    Script,
    ScriptedServer,
    accept_then,
    after,
    again,
    both,
    close,
    flood,
    half,
    hang,
    inject,
    pause,
    raw,
    real,
    reply,
    reset,
    slowly,
    split,
    stall,
    trickle,
    until_told,
)

CONTENT = b"Subject: hello\r\n\r\nhello\r\n"


class Client:
    """A client that says what the test says, and judges nothing."""

    def __init__(self, server: ScriptedServer) -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=5)
        self.lines = self.sock.makefile("rb")

    def reply(self) -> str:
        """The next reply, its lines joined by a line feed; "" at the end of the stream."""
        lines = []
        while line := self.lines.readline():
            lines.append(line.decode().removesuffix("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def ask(self, *commands: str) -> str:
        """Send the commands in one segment; the reply to the first."""
        self.send("".join(f"{command}\r\n" for command in commands))
        return self.reply()

    def send(self, text: str | bytes) -> None:
        """Send as it is."""
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def rest(self) -> bytes:
        """Everything until the end of the stream."""
        return self.lines.read()

    def close(self) -> None:
        """Close."""
        self.lines.close()
        self.sock.close()


@contextlib.contextmanager
def talk(server: ScriptedServer, *, hello: bool = True) -> Iterator[Client]:
    """A client that was greeted and has said EHLO."""
    client = Client(server)
    try:
        if hello:
            client.reply()
            client.ask("EHLO client.test")
        yield client
    finally:
        client.close()


def submit(client: Client, *recipients: str, content: bytes = CONTENT) -> str:
    """A whole transaction; the final reply."""
    client.ask("MAIL FROM:<a@x.test>")
    for recipient in recipients or ("b@x.test",):
        client.ask(f"RCPT TO:<{recipient}>")
    client.ask("DATA")
    client.send(content + b".\r\n")
    return client.reply()


class TestCorrectServer:
    """Without a script."""

    def test_smtplib_can_submit_a_message(self) -> None:
        """The standard library's client finds nothing to complain about."""
        with ScriptedServer(login={"user": "pässword"}) as server, smtplib.SMTP(server.host, server.port) as client:
            client.ehlo()
            client.docmd("AUTH PLAIN", base64.b64encode("\0user\0pässword".encode()).decode())
            refused = client.sendmail("a@x.test", ["b@x.test", "c@x.test"], CONTENT)
        (message,) = server.messages
        assert refused == {}
        assert message.sender == "a@x.test"
        assert message.recipients == ("b@x.test", "c@x.test")
        assert message.content == CONTENT
        assert message.size == len(CONTENT)
        assert message.user == "user"
        assert message.parameters == {"SIZE": str(len(CONTENT))}
        assert message.header("subject") == "hello"
        assert server.wait_for_end().ending is Ending.QUIT

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_right_and_wrong_passwords_are_told_apart(self, mechanism: str) -> None:
        """smtplib's own implementations of PLAIN and LOGIN log in with the right password only."""
        with ScriptedServer(login={"user": "right"}, mechanisms=[mechanism]) as server:
            with smtplib.SMTP(server.host, server.port) as client:
                with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
                    client.login("user", "wrong")
                client.login("user", "right")
            assert server.connections[0].user == "user"

    def test_access_tokens_are_refused_by_a_challenge_that_tells_why(self) -> None:
        """XOAUTH2: a wrong token gets 334 with JSON, then 535; a right one 235."""

        def response(token: str) -> str:
            return base64.b64encode(f"user=user\1auth=Bearer {token}\1\1".encode()).decode()

        with ScriptedServer(tokens={"user": "right"}) as server, talk(server) as client:
            challenge = client.ask(f"AUTH XOAUTH2 {response('wrong')}")
            assert challenge.startswith("334 ")
            assert b'"401"' in base64.b64decode(challenge[4:])
            assert client.ask("").startswith("535 ")
            assert client.ask(f"AUTH XOAUTH2 {response('right')}").startswith("235 ")

    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            ("AUTH PLAIN ###", "501"),
            ("AUTH PLAIN YQ==", "501"),
            ("AUTH XOAUTH2 YQ==", "501"),
            ("AUTH CRAM-MD5", "504"),
            ("MAIL FROM:<a@x.test>", "530"),
        ],
    )
    def test_wrong_logins_are_answered_by_code(self, command: str, answer: str) -> None:
        """Undecodable, malformed and unknown logins, and mail without one."""
        with ScriptedServer(login={"user": "right"}) as server, talk(server) as client:
            assert client.ask(command).startswith(answer)

    def test_auth_waits_for_tls_where_tls_is_offered(self) -> None:
        """AUTH is neither announced nor taken before STARTTLS."""
        with ScriptedServer(tls="starttls", login={"user": "right"}) as server, talk(server) as client:
            capabilities = client.ask("EHLO client.test")
            assert "STARTTLS" in capabilities
            assert "AUTH" not in capabilities
            assert client.ask("AUTH PLAIN AHVzZXIAcmlnaHQ=").startswith("530 5.7.0")

    @pytest.mark.parametrize("mode", ["starttls", "implicit"])
    def test_tls_is_spoken(self, mode: str) -> None:
        """Both ways of TLS work with the standard library, and are recorded."""
        with ScriptedServer(tls=mode) as server:  # type: ignore[arg-type]
            if mode == "implicit":
                client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", server.port, context=client_context(good()))
            else:
                client = smtplib.SMTP("localhost", server.port)
                client.starttls(context=client_context(good()))
            with client:
                client.sendmail("a@x.test", ["b@x.test"], CONTENT)
            record = server.wait_for_end()
        assert server.messages[0].is_tls
        assert record.tls_version == "TLSv1.3"
        assert record.server_name == "localhost"
        assert record.ending is Ending.QUIT

    def test_plaintext_behind_starttls_is_forgotten(self) -> None:
        """What a client (or somebody between) has sent behind STARTTLS is not executed under TLS."""
        with ScriptedServer(tls="starttls") as server, talk(server) as client:
            client.ask("STARTTLS", "NOOP injected")
            client.lines.close()
            wrapped = client_context(good()).wrap_socket(client.sock, server_hostname="localhost")
            wrapped.sendall(b"EHLO again.test\r\n")
            assert wrapped.recv(100).startswith(b"250-")
            wrapped.close()
        assert "NOOP injected" not in server.commands

    @pytest.mark.parametrize(
        ("commands", "answer"),
        [
            (["RCPT TO:<b@x.test>"], "503"),
            (["DATA"], "503"),
            (["MAIL FROM:<a@x.test>", "MAIL FROM:<a@x.test>"], "503"),
            (["MAIL FROM:<a@x.test>", "DATA"], "554"),
            (["MAIL FROM:a@x.test"], "501"),
            (["MAIL FROM:<a@x.test>SIZE=1"], "501"),
            (["MAIL FROM:<a@x.test> NOTIFY=NEVER"], "555"),
            (["MAIL FROM:<a@x.test> BODY=BINARY"], "501"),
            (["MAIL FROM:<a@x.test> SIZE=999999999"], "552"),
            (["MAIL FROM:<ä@x.test>"], "553"),
            (["MAIL FROM:<a@x.test>", "RCPT TO:<b@y> NOTIFY=NEVER>"], "555"),
            (["MAIL FROM:<a@x.test>", "RCPT TO:<>"], "501"),
            (["MAIL FROM:<a@x.test>", "RCPT TO:<ä@x.test>"], "553"),
            (["MAIL FROM:<ä@x.test> SMTPUTF8", "RCPT TO:<ö@x.test>"], "250"),
            (["MAIL FROM:<>", 'RCPT TO:<"b c"@x.test>'], "250"),
            (["MAIL FROM:<a@x.test>", "RSET", "RCPT TO:<b@x.test>"], "503"),
            (["MAIL FROM:<a@x.test>", "EHLO again.test", "RCPT TO:<b@x.test>"], "503"),
            (["AUTH PLAIN AGEAYg=="], "503"),
            (["STARTTLS"], "503"),
            (["VRFY b"], "252"),
            (["FROBNICATE"], "500"),
            (["EHLO"], "501"),
            (["HELO client.test"], "250"),
            (["BDAT x"], "501"),
        ],
    )
    def test_commands_are_answered_by_the_book(self, commands: list[str], answer: str) -> None:
        """Order, grammar and parameters are watched (RFC 5321 §4.1)."""
        with ScriptedServer() as server, talk(server) as client:
            for command in commands:
                said = client.ask(command)
        assert said.startswith(answer)

    def test_mail_before_ehlo_is_refused(self) -> None:
        """The client has to introduce itself."""
        with ScriptedServer() as server, talk(server, hello=False) as client:
            client.reply()
            assert client.ask("MAIL FROM:<a@x.test>").startswith("503")

    def test_pipelined_group_is_answered_in_order_and_in_one_segment(self) -> None:
        """MAIL, RCPT, RCPT and DATA in one write get their replies in order (RFC 2920)."""
        script = Script(rcpt={"no@x.test": "550 5.1.1 no"})
        with ScriptedServer(script) as server, talk(server) as client:
            client.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<no@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
            assert [client.reply()[:3] for _ in range(4)] == ["250", "550", "250", "354"]
            client.send(CONTENT + b".\r\nMAIL FROM:<c@x.test>\r\nRCPT TO:<d@x.test>\r\nDATA\r\n")
            assert [client.reply()[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        assert server.messages[0].recipients == ("b@x.test",)

    @pytest.mark.parametrize(
        ("sent", "received"),
        [
            (b".\r\n", b""),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
            (b"a.\r\n.\r\n", b"a.\r\n"),
            (b"\r\n.\r\n", b"\r\n"),
        ],
    )
    def test_dots_are_unstuffed(self, sent: bytes, received: bytes) -> None:
        """The first dot of a line is taken off, also where segments cut anywhere."""
        with ScriptedServer() as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            for byte in sent:
                client.send(bytes((byte,)))
            assert client.reply().startswith("250")
        assert server.messages[0].content == received

    @pytest.mark.parametrize("smuggled", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\r\n"])
    def test_only_crlf_dot_crlf_ends_content(self, smuggled: bytes) -> None:
        """Nothing else is a terminator, and content with bare line ends is refused as a whole."""
        with ScriptedServer() as server, talk(server) as client:
            said = submit(client, content=b"a" + smuggled + b"MAIL FROM:<evil@x.test>\r\n")
        assert said.startswith("550 5.5.2")
        assert server.messages == []
        assert server.refused[0].has_bare_line_ends
        unstuffed = smuggled.replace(b"\r\n.", b"\r\n")
        assert server.refused[0].content == b"a" + unstuffed + b"MAIL FROM:<evil@x.test>\r\n"

    def test_bare_line_ends_are_taken_where_that_is_asked_for(self) -> None:
        """A lax server keeps them as they are."""
        with ScriptedServer(accepts_bare_line_ends=True) as server, talk(server) as client:
            assert submit(client, content=b"a\nb\r\n").startswith("250")
        assert server.messages[0].content == b"a\nb\r\n"

    def test_command_line_without_cr_is_refused(self) -> None:
        """A bare LF does not end a command."""
        with ScriptedServer() as server, talk(server) as client:
            client.send("NOOP\n")
            assert client.reply().startswith("500")

    def test_chunks_make_a_message(self) -> None:
        """BDAT counts octets and unstuffs nothing (RFC 3030)."""
        with ScriptedServer() as server, talk(server) as client:
            client.ask("MAIL FROM:<a@x.test>")
            client.ask("RCPT TO:<b@x.test>")
            client.send(b"BDAT 4\r\n..a\rBDAT 5 LAST\r\n\n.\r\nb")
            assert client.reply() == "250 2.0.0 4 octets received"
            assert client.reply().startswith("250")
        assert server.messages[0].content == b"..a\r\n.\r\nb"
        assert server.messages[0].is_chunked
        assert not server.messages[0].has_bare_line_ends

    def test_refused_chunks_are_consumed(self) -> None:
        """After a refused MAIL or RCPT the octets are eaten, and the next group is understood."""
        script = Script(rcpt={"no@x.test": "550 5.1.1 no"})
        with ScriptedServer(script) as server, talk(server) as client:
            client.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<no@x.test>\r\nBDAT 6 LAST\r\nDATA\r\n")
            client.send(b"BDAT 4 LAST\r\nRSETMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nBDAT 3 LAST\r\na\r\n")
            assert [client.reply()[:3] for _ in range(7)] == ["250", "550", "554", "503", "250", "250", "250"]
        assert [message.content for message in server.messages] == [b"a\r\n"]

    def test_limits_are_kept(self) -> None:
        """Recipients, size, messages and connections, each with its code."""
        with (
            ScriptedServer(recipients_limit=1, size_limit=10, messages_per_connection=1, connections_limit=1) as server,
            talk(server) as client,
        ):
            assert submit(client, content=b"small\r\n").startswith("250")
            assert client.ask("MAIL FROM:<a@x.test>").startswith("421")
            assert client.rest() == b""
            client.close()
            server.wait_for_end(1)  # it counts as open until its thread has seen the end
            with talk(server) as client:
                assert submit(client, content=b"not so small\r\n").startswith("552")
                client.ask("MAIL FROM:<a@x.test>")
                client.ask("RCPT TO:<b@x.test>")
                assert client.ask("RCPT TO:<c@x.test>").startswith("452")
                with talk(server, hello=False) as third:
                    assert third.reply().startswith("421")

    def test_announced_keywords_are_configurable(self) -> None:
        """EHLO says what it is told, before and after TLS, and refuses parameters that it did not announce."""
        with (
            ScriptedServer(
                keywords=["PIPELINING"], keywords_before_tls=["CHUNKING"], size_limit=None, tls="starttls"
            ) as server,
            smtplib.SMTP("localhost", server.port) as client,
        ):
            client.ehlo()
            assert set(client.esmtp_features) == {"chunking", "starttls"}
            client.starttls(context=client_context(good()))
            client.ehlo()
            assert set(client.esmtp_features) == {"pipelining"}
            assert client.docmd("MAIL FROM:<a@x.test> BODY=8BITMIME")[0] == 555

    def test_content_need_not_be_kept(self) -> None:
        """Size and digest are known, the bytes are gone."""
        with ScriptedServer(keeps_content=False) as server, talk(server) as client:
            submit(client)
        (message,) = server.messages
        assert message.content == b""
        assert message.size == len(CONTENT)
        assert CONTENT not in bytes(server.connections[0].raw)

    def test_old_tls_and_client_certificates_can_be_demanded(self) -> None:
        """A context of one's own replaces the certificate."""
        context = server_context(good(), maximum_version=ssl.TLSVersion.TLSv1)
        with ScriptedServer(context=context, tls="implicit") as server:
            # Where OpenSSL's security level forbids the old signatures, that is what the client finds first.
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|legacy sigalg"):
                smtplib.SMTP_SSL("localhost", server.port, context=client_context(good()))
            assert server.wait_for_end().ending is Ending.TLS_FAILED


class TestScript:
    """Told to be wrong."""

    def test_scripts_are_for_first_second_and_later_connections(self) -> None:
        """Each connection has its own script, the last goes on."""
        with ScriptedServer(Script(greeting="421 a"), Script(greeting="554 b"), Script()) as server:
            greetings = []
            for _ in range(4):
                with talk(server, hello=False) as client:
                    greetings.append(client.reply())
        assert greetings == ["421 a", "554 b", "220 mx.test ESMTP", "220 mx.test ESMTP"]

    def test_list_is_for_first_second_and_later_times(self) -> None:
        """In a stage, None and everything behind the end are real behaviour."""
        with ScriptedServer(Script(noop=["450 a", None, "550 c"])) as server, talk(server) as client:
            assert [client.ask("NOOP") for _ in range(4)] == ["450 a", "250 2.0.0 Ok", "550 c", "250 2.0.0 Ok"]

    def test_recipients_have_their_own_replies(self) -> None:
        """By address, also one after the other; or by order for all."""
        script = Script(rcpt={"b@x.test": ["451 greylisted"], "c@x.test": "550 no"})
        with ScriptedServer(script) as server, talk(server) as client:
            client.ask("MAIL FROM:<a@x.test>")
            asked = [client.ask(f"RCPT TO:<{who}@x.test>")[:3] for who in "bcdbc"]
        assert asked == ["451", "550", "250", "250", "550"]
        with ScriptedServer(Script(rcpt=[None, "421 bye"])) as server, talk(server) as client:
            client.ask("MAIL FROM:<a@x.test>")
            assert client.ask("RCPT TO:<b@x.test>").startswith("250")
            assert client.ask("RCPT TO:<c@x.test>") == "421 bye"
            assert client.rest() == b""

    def test_421_closes_unless_it_stays(self) -> None:
        """As RFC 5321 §3.8 wants; some servers leave the connection open."""
        with ScriptedServer(Script(mail=[reply("421 a", stays=True), "421 b"])) as server, talk(server) as client:
            assert client.ask("MAIL FROM:<a@x.test>") == "421 a"
            assert client.ask("MAIL FROM:<a@x.test>") == "421 b"
            assert client.rest() == b""
            assert server.wait_for_end().ending is Ending.SERVER_CLOSED

    def test_scripted_positive_replies_are_believed(self) -> None:
        """A scripted 250 to MAIL opens the transaction, a scripted 354 reads content, a scripted 2yz takes it."""
        script = Script(mail="250 fine", data="354 go", final_reply="252 maybe")
        with ScriptedServer(script) as server, talk(server) as client:
            assert submit(client) == "252 maybe"
        assert server.messages[0].sender == "a@x.test"

    def test_lax_server_takes_content_without_recipients(self) -> None:
        """354 after every recipient was refused, and even 250 to the content."""
        script = Script(rcpt="550 no", data="354 go", final_reply=["250 queued", None])
        with ScriptedServer(script) as server, talk(server) as client:
            assert submit(client) == "250 queued"
            assert submit(client).startswith("554")
        assert server.messages[0].recipients == ()

    def test_non_esmtp_server(self) -> None:
        """502 to EHLO, and HELO is understood."""
        with ScriptedServer(Script(ehlo="502 what")) as server, smtplib.SMTP(server.host, server.port) as client:
            client.sendmail("a@x.test", ["b@x.test"], CONTENT)
        assert server.connections[0].verbs[:2] == ["EHLO", "HELO"]

    @pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "data", "final_reply", "rset", "noop"])
    def test_connection_is_closed_or_reset_at_every_stage(self, stage: str) -> None:
        """An orderly end is seen as end of stream, a reset as such; nothing is taken."""
        for action, ending in ((close(), Ending.SERVER_CLOSED), (reset(), Ending.SERVER_RESET)):
            deviation: dict[str, Any] = {stage: action}
            with ScriptedServer(Script(**deviation)) as server:
                with smtplib.SMTP() as client, pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
                    client.connect(server.host, server.port)
                    client.ehlo_or_helo_if_needed()
                    client.docmd("NOOP")
                    client.rset()
                    client.sendmail("a@x.test", ["b@x.test"], CONTENT)
                assert server.wait_for_end().ending is ending
                assert server.messages == []

    @pytest.mark.parametrize("stage", ["greeting", "ehlo", "starttls", "tls", "mail", "data", "content", "final_reply"])
    def test_hang_ends_with_the_server(self, stage: str) -> None:
        """A hanging server says nothing, and leaving the with block ends it at once."""
        deviation: dict[str, Any] = {stage: hang()}
        with ScriptedServer(Script(**deviation), tls="starttls") as server:
            client = Client(server)
            commands = "EHLO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhello\r\n.\r\n"
            client.send("EHLO x\r\nSTARTTLS\r\n" if stage in {"starttls", "tls"} else commands)
            server.wait_for(lambda server: server.connections and server.connections[0].raw)
        assert server.connections[0].ending is Ending.STOPPED
        client.close()

    def test_stalled_reader_fills_the_pipe(self) -> None:
        """With small buffers a client cannot write on against a server that does not read."""
        with ScriptedServer(Script(content=stall()), buffer_bytes=4096) as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                for _ in range(1000):
                    client.sock.send(b"x" * 4096)

    def test_writing_against_small_buffers_blocks_without_reading(self) -> None:
        """Thousands of pipelined commands deadlock a client that does not read while it writes."""
        with ScriptedServer(buffer_bytes=4096) as server, talk(server) as client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                for _ in range(20_000):
                    client.sock.send(b"NOOP\r\n" * 16)

    def test_slow_reader_takes_everything(self) -> None:
        """Content is read piece by piece."""
        with ScriptedServer(Script(content=slowly(8, every=0.0))) as server, talk(server) as client:
            assert submit(client, content=CONTENT * 10).startswith("250")
        assert server.messages[0].content == CONTENT * 10

    def test_early_refusal_in_mid_content(self) -> None:
        """After so many bytes the server refuses and closes, without waiting for the terminator."""
        script = Script(content=after(100, "552 5.3.4 too big", close()))
        with ScriptedServer(script) as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            client.send(b"x" * 100)
            assert client.reply() == "552 5.3.4 too big"
            assert client.rest() == b""
            assert server.wait_for_end().content_bytes == 100

    def test_early_acceptance_in_mid_content_takes_nothing(self) -> None:
        """A 250 before the terminator is said, and is no acceptance."""
        with ScriptedServer(Script(content=after(5, "250 early", reset()))) as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            client.send(b"hello")
            server.wait_for_end()
        assert server.messages == []

    def test_speaking_in_mid_content_and_reading_on(self) -> None:
        """What is said is sent at once; at the end there is the real reply."""
        with ScriptedServer(Script(content=after(5, "250 early"))) as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            client.send(b"hello")
            assert client.reply() == "250 early"
            client.send(b"\r\n.\r\n")
            assert client.reply().startswith("250 2.0.0")
        assert server.messages[0].content == b"hello\r\n"

    def test_content_shorter_than_the_mark_is_left_alone(self) -> None:
        """`after` does nothing when the content ends before."""
        with ScriptedServer(Script(content=after(1000, reset()))) as server, talk(server) as client:
            assert submit(client).startswith("250")

    @pytest.mark.parametrize("action", [close(), reset(), half("25"), half("250-queued"), raw(b"garbage\r\n")])
    def test_accepted_and_then_silent(self, action: Action) -> None:
        """accept_then takes the message whatever is said; without it nothing is taken."""
        for script, count in ((Script(final_reply=accept_then(action)), 1), (Script(final_reply=action), 0)):
            with ScriptedServer(script) as server, talk(server) as client:
                for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                    client.ask(command)
                client.send(CONTENT + b".\r\n")
                server.wait_for(lambda server: server.messages or server.refused)
                assert len(server.messages) == count
                assert len(server.refused) == 1 - count

    def test_message_is_taken_before_its_reply_is_sent(self) -> None:
        """Whoever has read the 250 finds the message."""
        with ScriptedServer() as server, talk(server) as client:
            for number in range(1, 20):
                assert submit(client).startswith("250")
                assert len(server.messages) == number

    @pytest.mark.parametrize(
        ("action", "said"),
        [
            (trickle("250 a"), b"250 a\r\n"),
            (trickle("250 a", every=0.001), b"250 a\r\n"),
            (split("250-a\n250 b", at=6), b"250-a\r\n250 b\r\n"),
            (split("250 a", at=3, pause=0.001), b"250 a\r\n"),
            (half("25"), b"25"),
            (half("250 a", then=reset()), b"250 a"),
            (flood("250-{n}", lines=3, last="250 end"), b"250-0\r\n250-1\r\n250-2\r\n250 end\r\n"),
            (flood("x", lines=3, last="", line_ends=False), b"xxx\r\n"),
            (inject("250 ghost"), b"250 2.0.0 Ok\r\n250 ghost\r\n"),
            (both("250 a", raw(b"b\n"), real()), b"250 a\r\nb\n250 2.0.0 Ok\r\n"),
            (raw(b"\x00\xff\r\n"), b"\x00\xff\r\n"),
            (both(pause(0.001), "250 late"), b"250 late\r\n"),
            ("250-a\n550 b", b"250-a\r\n550 b\r\n"),
        ],
    )
    def test_actions_say_what_they_should(self, action: Action | str, said: bytes) -> None:
        """Byte for byte."""
        with ScriptedServer(Script(noop=[action])) as server, talk(server) as client:
            client.send("NOOP\r\nQUIT\r\n")
            received = b""
            with contextlib.suppress(ConnectionResetError):
                received = client.rest()
        if received:  # a reset may destroy what was said before
            assert received.removesuffix(b"221 2.0.0 Bye\r\n") == said

    @pytest.mark.parametrize("line_ends", [True, False])
    def test_endless_flood_ends_with_the_client(self, line_ends: bool) -> None:
        """A client that leaves stops it."""
        with ScriptedServer(Script(ehlo=flood("250-x{n}", line_ends=line_ends))) as server:
            with talk(server, hello=False) as client:
                client.send("EHLO x\r\n")
                client.sock.recv(1000)
            assert server.wait_for_end().ending is Ending.CLIENT_RESET

    def test_the_same_again_to_every_line(self) -> None:
        """A 334 that never ends."""
        with ScriptedServer(Script(auth_command=again("334 VXNlcm5hbWU6"))) as server, talk(server) as client:
            assert [client.ask(line) for line in ("AUTH LOGIN", "eA==", "eQ==")] == ["334 VXNlcm5hbWU6"] * 3

    def test_verdict_on_credentials_is_scripted_after_the_exchange(self) -> None:
        """`auth` speaks when the credentials are there."""
        with ScriptedServer(Script(auth="454 4.7.0 later"), login={"user": "right"}) as server, talk(server) as client:
            assert client.ask("AUTH LOGIN") == "334 VXNlcm5hbWU6"
            assert client.ask("dXNlcg==") == "334 UGFzc3dvcmQ6"
            assert client.ask("cmlnaHQ=") == "454 4.7.0 later"

    def test_plaintext_is_injected_behind_the_220_of_starttls(self) -> None:
        """In the same segment."""
        script = Script(starttls=inject("250-evil\n250 AUTH PLAIN"))
        with ScriptedServer(script, tls="starttls") as server, talk(server) as client:
            client.send("STARTTLS\r\n")
            expected = b"220 2.0.0 Ready to start TLS\r\n250-evil\r\n250 AUTH PLAIN\r\n"
            assert client.lines.read(len(expected)) == expected

    def test_something_else_than_a_handshake(self) -> None:
        """Plaintext where the handshake should be."""
        with ScriptedServer(Script(tls=reply("250 no handshake")), tls="starttls") as server, talk(server) as client:
            assert client.ask("STARTTLS").startswith("220")
            assert client.reply() == "250 no handshake"

    def test_certificate_can_change_from_one_connection_to_the_next(self) -> None:
        """A context at `tls` is used for that connection alone."""
        expired = server_context(defective("leaf_expired"))
        trusting = client_context(good())
        trusting.load_verify_locations(cadata=defective("leaf_expired").ca_pem.decode())
        with ScriptedServer(Script(), Script(tls=expired), tls="implicit") as server:
            smtplib.SMTP_SSL("localhost", server.port, context=trusting).quit()
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                smtplib.SMTP_SSL("localhost", server.port, context=trusting)

    @pytest.mark.parametrize("reply_bytes", [1, 2, 7])
    def test_replies_can_be_cut_anywhere(self, reply_bytes: int) -> None:
        """smtplib, which reads lines, does not mind."""
        with (
            ScriptedServer(Script(reply_bytes=reply_bytes)) as server,
            smtplib.SMTP(server.host, server.port) as client,
        ):
            assert client.sendmail("a@x.test", ["b@x.test"], CONTENT) == {}

    def test_replies_can_lack_the_cr(self) -> None:
        """Lines end as the script says, and are believed as others are."""
        with ScriptedServer(Script(line_end="\n")) as server, talk(server, hello=False) as client:
            client.send("EHLO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n")
            said = client.rest()
        assert b"\r" not in said
        assert said.startswith(b"220 mx.test ESMTP\n250-mx.test\n")
        assert len(server.messages) == 1

    def test_pipelined_input_can_be_swallowed(self) -> None:
        """Behind the first line of a segment nothing is understood."""
        with ScriptedServer(Script(swallows_pipelined=True)) as server, talk(server) as client:
            client.send("MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
            assert client.reply().startswith("250")
            assert client.ask("NOOP").startswith("250")
        assert server.connections[0].verbs == ["EHLO", "MAIL", "NOOP"]

    def test_idle_connection_is_left_after_a_message(self) -> None:
        """The 421 follows the final reply without being asked for."""
        with ScriptedServer(Script(idle="421 4.4.2 idle")) as server, talk(server) as client:
            assert submit(client).startswith("250")
            assert client.reply() == "421 4.4.2 idle"
            assert client.rest() == b""

    def test_callables_are_actions(self) -> None:
        """An odd case needs no new word."""

        def odd(conversation: Conversation) -> None:
            conversation.say(f"250 {len(conversation.recipients)} so far")

        with ScriptedServer(Script(noop=odd)) as server, talk(server) as client:
            client.ask("MAIL FROM:<a@x.test>")
            client.ask("RCPT TO:<b@x.test>")
            assert client.ask("NOOP") == "250 1 so far"

    def test_failing_callable_fails_the_test(self) -> None:
        """What a callable raises is raised where the server is left."""

        def broken(conversation: Conversation) -> None:
            raise ZeroDivisionError("in a script")

        with (
            pytest.raises(ZeroDivisionError, match="in a script"),
            ScriptedServer(Script(noop=broken)) as server,
            talk(server) as client,
        ):
            assert client.ask("NOOP") == ""

    def test_close_notify_is_sent_only_if_asked_for(self) -> None:
        """Many servers leave TLS without a word; QUIT is answered in order."""
        for action, is_polite in ((close(), False), (close(close_notify=True), True), (None, True)):
            with ScriptedServer(Script(quit=action), tls="implicit") as server:
                raw_socket = socket.create_connection((server.host, server.port))
                context = client_context(good())
                context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # some Pythons set it
                wrapped = context.wrap_socket(raw_socket, server_hostname="localhost", suppress_ragged_eofs=False)
                with wrapped:
                    wrapped.recv(100)
                    wrapped.sendall(b"QUIT\r\n")
                    try:
                        while wrapped.recv(100):
                            pass
                        was_polite = True
                    except ssl.SSLError:  # SSLEOFError in later Pythons
                        was_polite = False
                assert was_polite is is_polite


class TestWhileItRuns:
    """Told while it runs, and asked."""

    def test_idle_connection_does_what_it_is_told(self) -> None:
        """`do` speaks on a connection that waits for input, under TLS as well, and returns when it is done."""
        for tls in ("none", "implicit"):
            with ScriptedServer(tls=tls) as server:
                client = Client(server)
                if tls == "implicit":
                    client.lines.close()
                    client.sock = client_context(good()).wrap_socket(client.sock, server_hostname="localhost")
                    client.lines = client.sock.makefile("rb")
                assert client.reply().startswith("220")
                server.do(both("421 4.4.2 idle", close()))
                assert server.connections[0].ending is Ending.SERVER_CLOSED
                assert client.reply() == "421 4.4.2 idle"
                assert client.rest() == b""
                client.close()

    def test_stage_can_wait_for_the_test(self) -> None:
        """A reply comes when the test says so, and the conversation goes on."""
        with ScriptedServer(Script(final_reply=[until_told()])) as server, talk(server) as client:
            for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA"):
                client.ask(command)
            client.send(CONTENT + b".\r\nNOOP\r\n")
            server.wait_for(lambda server: server.connections[0].content_bytes)
            assert server.messages == []
            server.do("250 at last")
            assert len(server.messages) == 1
            assert client.reply() == "250 at last"
            assert client.reply() == "250 2.0.0 Ok"

    def test_behaviour_can_change_for_later_connections(self) -> None:
        """A provider breaks and recovers; connections that are open stay as they were."""
        with ScriptedServer() as server, talk(server) as first:
            server.behave(Script(greeting="421 down"), Script(greeting="554 still down"))
            for expected in ("421 down", "554 still down", "554 still down"):
                with talk(server, hello=False) as client:
                    assert client.reply() == expected
            server.behave()
            with talk(server) as client:
                assert submit(client).startswith("250")
            assert submit(first).startswith("250")

    def test_order_to_an_ended_connection_is_an_error(self) -> None:
        """The test hears of it instead of waiting."""
        with ScriptedServer() as server:
            with talk(server) as client:
                client.ask("QUIT")
            server.wait_for_end()
            with pytest.raises(AssertionError):
                server.do("421 idle", timeout=0.05)

    def test_listening_can_be_stopped_while_connections_go_on(self) -> None:
        """New connections are refused, old ones are served."""
        with ScriptedServer() as server, talk(server) as client:
            server.stop_listening()
            with pytest.raises(ConnectionRefusedError):
                Client(server)
            assert submit(client).startswith("250")

    def test_server_can_be_started_again_on_its_port(self) -> None:
        """A restart is another server on the same port."""
        with ScriptedServer() as first:
            port = first.port
        with ScriptedServer(port=port) as second:
            assert second.port == port
            with talk(second) as client:
                assert submit(client).startswith("250")

    def test_waiting_in_vain_tells_what_happened(self) -> None:
        """The error has the story."""
        with ScriptedServer() as server, talk(server), pytest.raises(AssertionError, match="EHLO client.test"):
            server.wait_for_messages(1, timeout=0.01)

    def test_options_describe_a_mailer(self) -> None:
        """What a mailer needs to reach it."""
        with ScriptedServer(tls="starttls", login={"user": "right"}) as server:
            assert server.options(timeout=3) == {
                "host": "localhost",
                "port": server.port,
                "use_tls": True,
                "ssl_cafile": str(good().ca_file),
                "username": "user",
                "password": "right",
                "timeout": 3,
            }

    def test_many_clients_at_once(self) -> None:
        """Nothing is lost or mixed up between threads."""
        with ScriptedServer() as server:

            def send(number: int) -> None:
                with talk(server) as client:
                    for _ in range(10):
                        submit(client, f"r{number}@x.test")

            threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(server.messages) == 80
            assert {message.recipients[0] for message in server.messages} == {f"r{n}@x.test" for n in range(8)}

    def test_no_thread_outlives_the_server(self) -> None:
        """Whatever the connections were doing."""
        before = threading.active_count()
        scripts = [Script(greeting=hang()), Script(greeting=stall()), Script(greeting=flood("220-x")), Script()]
        with ScriptedServer(*scripts) as server:
            clients = [Client(server) for _ in range(5)]
            server.wait_for(lambda server: len(server.connections) == 5)
        assert threading.active_count() == before
        for client in clients:
            client.close()
