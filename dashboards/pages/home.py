"""The home page's application: studies as they run, and a voice to talk to; JSON, and one static page."""

import base64
import hashlib
import re
import secrets
import shutil
import tempfile
import unicodedata
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dashboards.bodies import NO_STORE, limited
from dashboards.pages.records import Records
from dashboards.synthesis.client import LONGEST_TEXT, Busy, Lost, SynthesisClient, in_child
from smart_tuner.store.ratings import Rating, rate, rated_by
from smart_tuner.store.storage import ReadOnlyStorage, Storage
from studies.report.summary import Record, as_json
from studies.run.study import StudyError

PAGE = Path(__file__).parent / "home.html"
KEPT_SAMPLES = 40
RATER = "smart_tuner_rater"
YEAR = 365 * 24 * 3600
THROUGH_ANOTHER_PORT = (
    "You came here by another port than this page's own, so it is not known where you reach the others.\n"
    "Open the address that this shows, through a tunnel of its own: run_study.py pages --status\n\n"
    "Вы пришли не через собственный порт этой страницы, и неизвестно, где вам доступны другие.\n"
    "Откройте адрес, который покажет (через свой туннель): run_study.py pages --status\n"
)

Number = Annotated[int, Field(ge=0, lt=2**31)]
Picture = Annotated[str, Field(pattern=r"^attention-\d{4,9}\.png$")]
Name = Annotated[str, Field(pattern=r"^\w[\w.-]{0,63}$")]


class Wish(BaseModel):
    """What somebody wants to hear."""

    model_config = ConfigDict(extra="forbid", strict=True)
    study: Name
    trial: Number | None = None
    text: str


class Opinion(BaseModel):
    """What somebody thinks of a sample."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sample: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    score: Annotated[int, Field(ge=1, le=5)]
    blind: bool = False


@dataclass
class Samples:
    """What was spoken lately, and can be rated. The sounds' folder is removed when this process ends."""

    folder: Path

    def __post_init__(self) -> None:
        self._known: OrderedDict[str, Rating] = OrderedDict()

    def keep(self, rating: Rating, wave: bytes | None = None) -> str:
        """Args: rating: without rater and score; wave: None for a file that is kept elsewhere."""
        self._known[rating.sample] = rating
        self._known.move_to_end(rating.sample)
        if wave is not None:
            self.sound(rating.sample).write_bytes(wave)
        while len(self._known) > KEPT_SAMPLES:
            self.sound(self._known.popitem(last=False)[0]).unlink(missing_ok=True)
        return rating.sample

    def rating(self, sample: str) -> Rating | None:
        return self._known.get(sample)

    def sound(self, sample: str) -> Path:
        """`sample` is a SHA-256 in hexadecimal."""
        return self.folder / f"{sample}.wav"


class Refused(Exception):
    """A request that is answered with a word that the page knows, and numbers."""

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status, self.answer = status, {"error": error, **more}


def app(
    storage: Storage,
    url: str,
    workdir: Path,
    pages: Callable[[], list[Record]] = list,
    entrances: Mapping[str, str] = MappingProxyType({}),
    speaker: SynthesisClient | None = None,
) -> FastAPI:
    """The application, without its guard.

    Args:
        pages: name, port and state of each page.
        entrances: what of each page's address, behind the name of this machine, opens it.
    """
    records = Records(storage, workdir)
    synthesis = speaker or SynthesisClient(in_child, (url, workdir))
    folder = tempfile.mkdtemp(prefix="smart-tuner-")
    samples = Samples(Path(folder))

    @asynccontextmanager
    async def life(_: FastAPI) -> Any:
        yield
        synthesis.close()
        gone()

    web = FastAPI(title="Smart Tuner", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    gone = weakref.finalize(web, shutil.rmtree, folder, ignore_errors=True)  # also where it never ran
    _errors(web)
    _page(web)
    _others(web, entrances)
    _studies(web, records, pages)
    _samples_of_trials(web, records, samples, storage)
    _speech(web, records, samples, storage, synthesis)
    web.add_middleware(limited)
    return web


def _errors(web: FastAPI) -> None:
    @web.exception_handler(Refused)
    async def refused(_: Request, refusal: Refused) -> Response:
        return JSONResponse(refusal.answer, refusal.status, NO_STORE)

    @web.exception_handler(StudyError)
    async def unknown(_: Request, error: StudyError) -> Response:
        return JSONResponse({"error": "no_study", "why": str(error)}, 404, NO_STORE)

    @web.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        keys = [".".join(str(part) for part in fault["loc"]) for fault in error.errors()]
        return JSONResponse({"error": "invalid", "keys": keys}, 422, NO_STORE)

    @web.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return JSONResponse(
            {"error": "not_found" if error.status_code == 404 else "refused"}, error.status_code
        )


def _page(web: FastAPI) -> None:
    text = PAGE.read_text("utf-8")
    headers = {
        "content-security-policy": policy(text),
        "x-frame-options": "DENY",
        "cache-control": "no-cache",
    }

    @web.get("/")
    def page() -> Response:
        return HTMLResponse(text, headers=headers)

    @web.get("/favicon.ico")
    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml", headers={"cache-control": "max-age=86400"})


def _others(web: FastAPI, entrances: Mapping[str, str]) -> None:
    @web.get("/open/{page}")
    def entered(page: str, request: Request) -> Response:
        """Whoever is in may go on to another page: the links of this one hold no keys.

        Through a tunnel the other pages' ports may be somebody else's, who would be sent a key.
        """
        if page not in entrances:
            raise Refused(404, "not_found")
        host = request.headers["host"]
        port = re.search(r":(\d+)$", host)
        if int(port[1] if port else 80) != request.scope["server"][1]:
            return PlainTextResponse(THROUGH_ANOTHER_PORT, 409, NO_STORE)
        name = host[: port.start()] if port else host
        return RedirectResponse(f"http://{name}{entrances[page]}", 303, NO_STORE)


def policy(page: str) -> str:
    """A content security policy under which only the page's own script and style are run."""

    def hashes(tag: str) -> str:
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


def _studies(web: FastAPI, records: Records, pages: Callable[[], list[Record]]) -> None:
    """A plain `def` runs in a thread of its own, so that a slow database stops no other answer."""

    @web.get("/api/home")
    def workdir() -> Response:
        return _json({"studies": records.studies(), "pages": pages(), "longest_text": LONGEST_TEXT})

    @web.get("/api/study/{name}")
    def study(name: Name) -> Response:
        return _json(records.study(name))

    @web.get("/api/study/{name}/trials")
    def trials(name: Name) -> Response:
        return _json(records.trials(name))

    @web.get("/api/study/{name}/fixes")
    def fixes(name: Name) -> Response:
        return _json(records.fixes(name))

    @web.get("/api/study/{name}/importance")
    def importance(name: Name) -> Response:
        return _json(records.importance(name))


def _samples_of_trials(web: FastAPI, records: Records, samples: Samples, storage: Storage) -> None:
    @web.get("/api/study/{name}/trial/{number}")
    def trial(name: Name, number: Number, request: Request) -> Response:
        found = _found(records.trial(name, number))
        if found["sound"] and found["speaks"]:
            study, spec = records.load(name)
            digest = hashlib.sha256((records.folder(name, number) / "sample.wav").read_bytes()).hexdigest()
            step = min(found["measures"], key=lambda m: m["value"])["step"]
            text = spec.objective.speak or ""
            samples.keep(Rating(study.user_attrs["uid"], number, step, digest, text, "", 0))
            found |= {
                "sample": digest,
                "text": text,
                "score": rated_by(storage.ours, _rater(request), digest),
            }
        return _json(found)

    @web.get("/api/study/{name}/trial/{number}/sample.{kind}")
    def sample(name: Name, number: Number, kind: str) -> Response:
        records.load(name)
        path = records.folder(name, number) / f"sample.{kind}"
        if kind not in ("wav", "png") or not path.is_file():
            raise Refused(404, "no_sample")
        return FileResponse(path, headers=NO_STORE)

    @web.get("/api/study/{name}/trial/{number}/{picture}")
    def attention(name: Name, number: Number, picture: Picture) -> Response:
        records.load(name)
        path = records.folder(name, number) / picture
        if not path.is_file():
            raise Refused(404, "no_sample")
        return FileResponse(path, headers=NO_STORE)


def _speech(
    web: FastAPI, records: Records, samples: Samples, storage: Storage, speaker: SynthesisClient
) -> None:
    @web.post("/api/speak")
    def speak(desired_state: Wish, request: Request) -> Response:
        text = sayable(desired_state.text)
        uid = records.load(desired_state.study)[0].user_attrs["uid"]
        try:
            said = speaker.speak(desired_state.study, desired_state.trial, text)
        except Busy as busy:
            raise Refused(429, "busy") from busy
        except Lost as lost:
            raise Refused(503, "lost") from lost
        if "error" in said:
            raise Refused(422, **said)
        name = hashlib.sha256(f"{said.pop('digest')} {text}".encode()).hexdigest()
        rating = Rating(uid, said["trial"], said["step"], name, text, "", 0)
        samples.keep(rating, said.pop("wave"))
        for grid in ("alignment", "mel"):
            said[grid]["bytes"] = base64.b64encode(said[grid]["bytes"]).decode()
        score = rated_by(storage.ours, _rater(request), name)
        return _json({**said, "study": desired_state.study, "text": text, "sample": name, "score": score})

    @web.get("/api/said/{sample}.wav")
    def sound(sample: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]) -> Response:
        path = samples.sound(sample)
        if not path.is_file():
            raise Refused(404, "no_sample")
        return FileResponse(path, media_type="audio/wav", headers=NO_STORE)

    @web.post("/api/rate")
    def rating(opinion: Opinion, request: Request) -> Response:
        if isinstance(storage, ReadOnlyStorage):
            raise Refused(403, "read_only")
        heard = samples.rating(opinion.sample)
        if heard is None:
            raise Refused(404, "no_sample")
        rater = _rater(request) or secrets.token_hex(16)
        rate(storage.ours, replace(heard, rater=rater, score=opinion.score, blind=opinion.blind))
        answer = _json({"score": opinion.score})
        answer.set_cookie(RATER, rater, max_age=YEAR, httponly=True, samesite="strict")
        return answer


def sayable(text: str) -> str:
    """The text as it is spoken. Raises Refused for one that is empty, too long, or no text."""
    if len(text) > LONGEST_TEXT:
        raise Refused(422, "too_long", length=len(text), limit=LONGEST_TEXT)
    text = " ".join(text.split())
    if not text:
        raise Refused(422, "empty")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") for character in text):
        raise Refused(422, "control_characters")
    return text


def _rater(request: Request) -> str:
    """The random name that this browser got with its first rating, or nothing."""
    name = request.cookies.get(RATER, "")
    return name if re.fullmatch("[0-9a-f]{32}", name) else ""


def _found(record: Record | None) -> Record:
    if record is None:
        raise Refused(404, "no_trial")
    return record


def _json(content: Any) -> Response:
    return Response(as_json(content), headers=NO_STORE, media_type="application/json")


ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect width='16' height='16' rx='4' fill='#2a5d9f'/>"
    "<path d='M3 8h1.5M6 5v6M8.5 3v10M11 6v4M13 8h.5' stroke='#fff' stroke-width='1.6' "
    "stroke-linecap='round' fill='none'/></svg>"
)
