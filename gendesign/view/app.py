"""The HTTP interface of the tool: JSON, files of the page, and one stream of events."""

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gendesign.errors import UserError
from gendesign.view.jobs import explained
from gendesign.view.results import download
from gendesign.view.scene import Conflict
from gendesign.view.security import LARGEST, TooLarge
from gendesign.view.session import Session
from gendesign.view.settings import experiments, form, known_potentials
from gendesign.view.structures import to_json
from gendesign.view.words import as_command, as_python

PAGE = Path(__file__).with_name("page")
LIBRARY = PAGE / "lib" / "3Dmol-min.js"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
MEDIA = {"sdf": "chemical/x-mdl-sdfile", "xyz": "chemical/x-xyz", "cif": "chemical/x-cif", "zip": "application/zip"}
Answer = Callable[[Request, Session], Awaitable[Any]]


def application(session: Session) -> Starlette:
    """The app around a session."""

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def respond(request: Request) -> Response:
            try:
                content = await answer(request, session)
            except UserError as error:
                return _error(" ".join(str(error).split()), 400)
            except Conflict:
                return _error("another tab has changed this; the scene was loaded again", 409)
            except TooLarge:
                return _error(f"this is larger than {LARGEST >> 20} MB", 413)
            except (KeyError, TypeError, ValueError) as error:
                traceback.print_exc()  # on the terminal, where a mistake of the code is then seen
                return _error(f"the request cannot be read ({type(error).__name__}); reload the page", 400)
            except OSError as error:
                traceback.print_exc()
                return _error(f"{error.filename or 'a file'}: {explained(error)}", 507)
            return content if isinstance(content, Response) else JSONResponse(content)

        return Route(path, respond, methods=[method])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        session.start()
        yield
        await session.close()

    return Starlette(
        lifespan=lifespan,
        routes=[
            route("/", _index),
            route("/page/{path:path}", _file),
            route("/api/events", _events),
            route("/api/state", _state),
            route("/api/scene", _change, "POST"),
            route("/api/undo", _undo, "POST"),
            route("/api/redo", _redo, "POST"),
            route("/api/structures/{name}", _structure),
            route("/api/upload", _upload, "POST"),
            route("/api/smiles", _smiles, "POST"),
            route("/api/hydrogenate", _hydrogenate, "POST"),
            route("/api/settings/{verb}", _settings),
            route("/api/prior", _prior),
            route("/api/command/{verb}", _command, "POST"),
            route("/api/jobs", _start, "POST"),
            route("/api/jobs/{name}/cancel", _cancel, "POST"),
            route("/api/jobs/{name}/continue", _continue, "POST"),
            route("/api/folders/{name}", _gallery),
            route("/api/folders/{name}/watch", _watch),
            route("/api/folders/{name}/{index:int}", _candidate),
            route("/api/folders/{name}/{index:int}/picture.svg", _picture),
            route("/api/take", _take, "POST"),
            route("/api/download.{form}", _download),
        ],
    )


def _error(reason: str, status: int) -> JSONResponse:
    return JSONResponse({"error": reason}, status)


async def _index(request: Request, session: Session) -> Response:
    return FileResponse(PAGE / "index.html", media_type="text/html")


async def _file(request: Request, session: Session) -> Response:
    path = (PAGE / request.path_params["path"]).resolve()
    if not path.is_relative_to(PAGE.resolve()) or path.suffix not in KINDS or not path.is_file():
        return _error("there is no such file", 404)
    return FileResponse(path, media_type=KINDS[path.suffix])


async def _events(request: Request, session: Session) -> Response:
    return StreamingResponse(session.events.stream(), media_type="text/event-stream")


async def _state(request: Request, session: Session) -> Any:
    return {
        **session.scene.state(),
        "jobs": [job.shown() for job in session.jobs.jobs.values()],
        "folders": session.folders(),
        "ready": session.warm.ready.is_set(),
        "potentials": known_potentials(),
        "experiments": experiments("generate"),
        "given": session.given,
    }


async def _change(request: Request, session: Session) -> Any:
    body = await request.json()
    session.scene.change(body["changes"], str(body.get("label", "")), body.get("base"))
    return session.scene.state()


async def _undo(request: Request, session: Session) -> Any:
    session.scene.undo()
    return session.scene.state()


async def _redo(request: Request, session: Session) -> Any:
    session.scene.redo()
    return session.scene.state()


async def _structure(request: Request, session: Session) -> Any:
    return session.store.get(request.path_params["name"])


async def _upload(request: Request, session: Session) -> Any:
    return await session.upload(request.query_params.get("name", ""), await request.body())


async def _smiles(request: Request, session: Session) -> Any:
    body = await request.json()
    content = await session.warm.call("from_smiles", smiles=str(body["smiles"])[:2000].strip())
    session.add([content], label="add a SMILES")
    return {"added": content["name"]}


async def _hydrogenate(request: Request, session: Session) -> Any:
    body = await request.json()
    await session.hydrogenate(int(body["structure"]), [int(atom) for atom in body.get("atoms", ())])
    return {}


async def _settings(request: Request, session: Session) -> Any:
    verb = request.path_params["verb"]
    return form(verb, session.given if verb == "generate" else [], session.scene.content["settings"].get(verb, {}))


async def _prior(request: Request, session: Session) -> Any:
    try:
        return await session.prior()
    except UserError as error:  # asked for after every change: a scene that is not complete yet is no failed request
        return {"failed": True, "error": " ".join(str(error).split())}


async def _command(request: Request, session: Session) -> Any:
    try:
        words = [*session.words(request.path_params["verb"], await request.json()), "output=results/mine"]
    except UserError as error:  # as above
        return {"failed": True, "error": " ".join(str(error).split())}
    return {"command": as_command(words), "python": as_python(words)}


async def _start(request: Request, session: Session) -> Any:
    body = await request.json()
    limit = max(0.0, float(body.get("limit") or 0))
    return session.jobs.add(session.words(str(body["verb"]), body), limit).shown()


async def _cancel(request: Request, session: Session) -> Any:
    await session.jobs.cancel(request.path_params["name"])
    return {}


async def _continue(request: Request, session: Session) -> Any:
    return session.jobs.again(request.path_params["name"]).shown()


async def _gallery(request: Request, session: Session) -> Any:
    return await session.gallery(request.path_params["name"])


async def _watch(request: Request, session: Session) -> Any:
    return session.watched(request.path_params["name"])


async def _candidate(request: Request, session: Session) -> Any:
    candidate = session.results(request.path_params["name"]).candidate(request.path_params["index"])
    return to_json(candidate.atoms, f"{request.path_params['name']} {candidate.index}")


async def _picture(request: Request, session: Session) -> Response:
    svg = session.results(request.path_params["name"]).picture(request.path_params["index"])
    return Response(svg, media_type="image/svg+xml")


async def _take(request: Request, session: Session) -> Any:
    body = await request.json()
    candidates = session.chosen(body["candidates"])
    contents = [to_json(c.atoms, f"candidate {c.index}") for c in candidates if len(c.atoms)]
    if not contents:
        raise UserError("this candidate has no structure")
    session.add(contents, str(body.get("role", "shown")), "take a result")
    return {}


async def _download(request: Request, session: Session) -> Response:
    form = request.path_params["form"]
    picked = [item.rpartition(":")[::2] for item in request.query_params.getlist("c")]
    name = request.query_params.get("folder")
    candidates = list(session.results(name).read()[0]) if name else session.chosen(picked)
    content = download(candidates, form)
    headers = {"content-disposition": f'attachment; filename="structures.{form}"'}
    return Response(content, media_type=MEDIA[form], headers=headers)
