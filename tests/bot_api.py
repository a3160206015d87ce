"""A server on loopback that keeps the contract of Telegram's Bot API, as far as a bot of ours uses it.

It takes messages as Telegram would (token, chat, lengths in UTF-16 units, its HTML, pictures, OGG with Opus),
gives updates by offset to one poller at a time, and plays the faults that it is told to play.

    python tests/bot_api.py        serves until Ctrl-C, says what a chat would show, and reads commands
"""

import json
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import soundfile

TOKEN, CHAT, PERSON = "123456:AAbbCCdd-secret_TOKEN", "4242", 77
TAGS = {"b", "i", "u", "s", "code", "pre", "a"}
ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);")


@dataclass
class Message:
    """What the chat shows."""

    id: int
    method: str
    text: str  # after its HTML was read
    marked: bool  # whether it was sent as HTML
    file: bytes = b""
    silent: bool = False
    answers: int | None = None
    buttons: list = field(default_factory=list)
    at: float = 0.0


class Refused(Exception):
    def __init__(self, code, why, **parameters):
        self.code, self.why, self.parameters = code, why, parameters


class BotApi:
    """Everything that the server knows.

    `faults` are played one by one, each by the next call of its method ("*": of any one that sends): pairs of
    the method and what to do: (code, description, parameters), "cut" (no answer, after it was taken), "hang".
    """

    def __init__(self):
        self.messages, self.faults, self.calls, self.updates, self.answered = [], [], [], [], []
        self.webhook, self.down, self.lock = "", False, threading.RLock()
        self._ids, self._polls, self._confirmed = 0, 0, 0
        self.hang_seconds = 30.0

    def says(self):
        return [message.text for message in self.messages]

    def hear(self, text, sender=PERSON, chat=CHAT, date=None, id=None):
        message = {"message_id": 1, "from": {"id": sender, "first_name": "Ann"}, "chat": {"id": int(chat)}}
        return self.update({"message": {**message, "date": date or int(time.time()), "text": text}}, id)

    def press(self, data, sender=PERSON, chat=CHAT):
        query = {"id": f"q{time.monotonic_ns()}", "from": {"id": sender}, "data": data}
        return self.update(
            {"callback_query": {**query, "message": {"chat": {"id": int(chat)}, "message_id": 1}}}
        )

    def update(self, content, id=None):
        with self.lock:
            number = id or max([self._confirmed, *(u["update_id"] for u in self.updates)], default=0) + 1
            self.updates.append({"update_id": number, **content})
            return number

    def handle(self, token, method, data, files):
        with self.lock:
            self.calls.append(method)
            fault = self._fault(method)
        if token != TOKEN:
            raise Refused(401, "Unauthorized")
        if isinstance(fault, tuple):
            code, why, *parameters = fault
            raise Refused(code, why, **(parameters[0] if parameters else {}))
        if fault == "hang":
            time.sleep(self.hang_seconds)
        answer = getattr(self, f"_{method}", None)
        if answer is None:
            raise Refused(404, "Not Found: method not found")
        result = answer(data, files)
        if fault == "cut":
            raise ConnectionAbortedError
        return result

    def _fault(self, method):
        for fault in self.faults:
            if fault[0] == method or (fault[0] == "*" and method.startswith("send")):
                self.faults.remove(fault)
                return fault[1]
        return None

    # Methods

    def _getMe(self, data, files):
        return {"id": 123456, "is_bot": True, "first_name": "Tuner", "username": "tuner_bot"}

    def _getChat(self, data, files):
        self._check_chat(data)
        return {"id": int(CHAT), "type": "private", "first_name": "Ann"}

    def _getWebhookInfo(self, data, files):
        return {"url": self.webhook}

    def _sendMessage(self, data, files):
        return self._take("sendMessage", data, data.get("text", ""), 4096, b"")

    def _sendPhoto(self, data, files):
        content = files.get("photo", b"")
        if not content.startswith(b"\x89PNG\r\n\x1a\n") and not content.startswith(b"\xff\xd8"):
            raise Refused(400, "Bad Request: IMAGE_PROCESS_FAILED")
        if len(content) > 10_000_000:
            raise Refused(413, "Request Entity Too Large")
        return self._take("sendPhoto", data, data.get("caption", ""), 1024, content)

    def _sendVoice(self, data, files):
        content = files.get("voice", b"")
        sound = soundfile.info(BytesIO(content))
        if (sound.format, sound.subtype) != ("OGG", "OPUS"):
            raise Refused(400, "Bad Request: VOICE_MESSAGES_FORBIDDEN")
        return self._take("sendVoice", data, data.get("caption", ""), 1024, content)

    def _answerCallbackQuery(self, data, files):
        self.answered.append(data["callback_query_id"])
        return True

    def _getUpdates(self, data, files):
        with self.lock:
            if self.webhook:
                raise Refused(409, "Conflict: can't use getUpdates method while webhook is active")
            self._polls += 1
            mine = self._polls
            offset = int(data.get("offset", 0))
            if offset:
                self._confirmed = max(self._confirmed, offset - 1)
                self.updates = [u for u in self.updates if u["update_id"] >= offset]
        until = time.monotonic() + float(data.get("timeout", 0))
        while True:
            with self.lock:
                if self._polls != mine:
                    raise Refused(409, "Conflict: terminated by other getUpdates request")
                if found := [u for u in self.updates if u["update_id"] >= offset]:
                    return found
            if time.monotonic() >= until:
                return []
            time.sleep(0.02)

    # Messages

    def _check_chat(self, data):
        if str(data.get("chat_id")) != CHAT:
            raise Refused(400, "Bad Request: chat not found")

    def _take(self, method, data, text, most, content):
        self._check_chat(data)
        marked = data.get("parse_mode") == "HTML"
        shown = _read(text) if marked else text
        if not shown.strip() and method == "sendMessage":
            raise Refused(400, "Bad Request: message text is empty")
        if len(shown.encode("utf-16-le")) // 2 > most:
            what = "message is too long" if method == "sendMessage" else "message caption is too long"
            raise Refused(400, f"Bad Request: {what}")
        reply, markup = (_object(data.get(name)) for name in ("reply_parameters", "reply_markup"))
        with self.lock:
            known = not reply or reply["message_id"] in [message.id for message in self.messages]
            if not known and not reply.get("allow_sending_without_reply"):
                raise Refused(400, "Bad Request: message to be replied not found")
            self._ids += 1
            buttons = [button for row in markup.get("inline_keyboard", []) for button in row]
            if any(len(button["callback_data"].encode()) > 64 for button in buttons):
                raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
            silent = str(data.get("disable_notification", "")).lower() == "true"
            answers = reply.get("message_id")
            message = Message(
                self._ids, method, shown, marked, content, silent, answers, buttons, time.time()
            )
            self.messages.append(message)
        return {"message_id": message.id, "chat": {"id": int(CHAT)}, "date": int(time.time())}


def _object(value):
    return json.loads(value) if isinstance(value, str) else value or {}


def _read(markup):
    """The text that Telegram reads out of HTML."""
    opened, shown, at = [], [], 0
    for match in re.finditer(r"<[^>]*>?|&[^;\s]*;?|[^<&]+", markup):
        token, at = match.group(), match.end()
        if token.startswith("<"):
            tag = re.fullmatch(r"<(/?)([a-z]+)(?: href=\"[^\"]*\")?>", token)
            if tag is None or tag.group(2) not in TAGS:
                raise Refused(400, "Bad Request: can't parse entities: unsupported start tag")
            if not tag.group(1):
                opened.append(tag.group(2))
            elif not opened or opened.pop() != tag.group(2):
                raise Refused(400, "Bad Request: can't parse entities: unexpected end tag")
        elif token.startswith("&"):
            shown.append(unescape(token) if ENTITY.fullmatch(token) else token)
        else:
            shown.append(token)
    if opened or at != len(markup):
        raise Refused(400, "Bad Request: can't parse entities: can't find end tag")
    return "".join(shown)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: BotApi

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = re.fullmatch(r"/bot([^/]*)/(\w+)", self.path)
        if self.api.down:
            self.close_connection = True
            return
        try:
            if found is None:
                raise Refused(404, "Not Found")
            result = self.api.handle(*found.groups(), *self._content(body))
            self._answer(200, {"ok": True, "result": result})
        except Refused as refused:
            parameters = {"parameters": refused.parameters} if refused.parameters else {}
            told = {"ok": False, "error_code": refused.code, "description": refused.why, **parameters}
            self._answer(refused.code, told)
        except ConnectionAbortedError:
            self.close_connection = True

    def _content(self, body):
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("application/json"):
            return json.loads(body or b"{}"), {}
        whole = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        data, files = {}, {}
        for part in whole.iter_parts():
            name = part.get_param("name", header="content-disposition")
            if part.get_filename():
                files[name] = part.get_payload(decode=True)
            else:
                data[name] = part.get_payload(decode=True).decode()
        return data, files

    def _answer(self, code, content):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that went away


@contextmanager
def serving(port=0):
    """A BotApi, with its address as `base` and what a bot of it is told by the environment."""
    api = BotApi()
    with Server(("127.0.0.1", port), type("Bound", (Handler,), {"api": api})) as server:
        api.base = f"http://127.0.0.1:{server.server_address[1]}"
        api.environment = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_CHAT_ID": CHAT,
            "TELEGRAM_ALLOWED_IDS": str(PERSON),
            "TELEGRAM_API_BASE": api.base,
        }
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield api
        finally:
            server.shutdown()


class Stranger:
    """Whoever answers in Telegram's place: with any status, headers and bytes."""

    def __init__(self):
        self.answer, self.asked = (200, {}, b""), 0

    def says(self, told, code=200, **headers):
        """A JSON value, bytes as they are, or a generator that makes them as it goes."""
        if not isinstance(told, bytes) and not hasattr(told, "__next__"):
            told = json.dumps(told).encode()
        self.answer = code, {name.replace("_", "-"): value for name, value in headers.items()}, told


class Strangely(BaseHTTPRequestHandler):
    stranger: Stranger

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stranger.asked += 1
        code, headers, body = self.stranger.answer
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
            body = iter([body])
        self.send_header("Connection", "close")
        self.end_headers()
        for part in body:
            self.wfile.write(part)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST

    def log_message(self, *_):
        pass


@contextmanager
def answering():
    """A Stranger on loopback, with its address as `base`."""
    stranger = Stranger()
    with Server(("127.0.0.1", 0), type("Bound", (Strangely,), {"stranger": stranger})) as server:
        stranger.base = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield stranger
        finally:
            server.shutdown()


def main():
    with serving(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as api:
        print("\n".join(f"export {name}='{value}'" for name, value in api.environment.items()), flush=True)
        shown = 0

        def show():
            nonlocal shown
            while True:
                for message in api.messages[shown:]:
                    size = (
                        f" [{message.method[4:].lower()}, {len(message.file)} bytes]" if message.file else ""
                    )
                    marks = [f"[{b['text']}: {b['callback_data']}]" for b in message.buttons]
                    print(f"#{message.id}{size}", message.text, *marks, sep="\n  ", flush=True)
                    shown += 1
                time.sleep(0.2)

        threading.Thread(target=show, daemon=True).start()
        for line in sys.stdin:
            api.press(line.strip()) if ":" in line else api.hear(line.strip())


if __name__ == "__main__":
    main()
