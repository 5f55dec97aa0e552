"""Debian's jupyter_server with gradbook's front end on it: BUILD DIR PORT TOKEN [LABEXTENSIONS]. A peer for tests and benchmarks."""
import json
import sys
from pathlib import Path

from jupyter_server.base.handlers import APIHandler, AuthenticatedFileHandler, JupyterHandler
from jupyter_server.serverapp import ServerApp
from tornado import web
from tornado.websocket import WebSocketHandler

build = Path(sys.argv[1])
labextensions = Path(sys.argv[5]) if len(sys.argv) > 5 else build / "labextensions"
page = json.loads((build / "page.json").read_text())
extensions = {}
for manifest in labextensions.glob("*/package.json"):
    package = json.loads(manifest.read_text())
    extensions[package["name"]] = package["jupyterlab"]["_build"]
schemas = {}
for folder in [build / "schemas", *labextensions.glob("*/schemas")]:
    for file in folder.rglob("*.json"):
        name = file.parent.relative_to(folder).as_posix()
        schemas[f"{name}:{file.stem}"] = json.loads(file.read_text())


def setting(name):
    return {"id": name, "schema": schemas[name], "version": "", "raw": "{}", "settings": {}}


class Page(JupyterHandler):
    @web.authenticated
    def get(self, tree=""):
        config = {
            "appName": "JupyterLab", "appNamespace": "lab", "appUrl": "/lab", "appVersion": page["version"], "baseUrl": "/", "token": "",
            "mode": "multiple-document", "workspace": "default", "treePath": tree or "", "treeUrl": "/lab/tree", "settingsUrl": "/lab/api/settings",
            "themesUrl": "/lab/api/themes", "translationsApiUrl": "/lab/api/translations", "workspacesApiUrl": "/lab/api/workspaces",
            "fullStaticUrl": "/static/lab", "fullLabextensionsUrl": "/lab/extensions", "notebookStartsKernel": "true", "exposeAppInBrowser": "true",
            "federated_extensions": [{"name": name, **entry} for name, entry in extensions.items()], "disabledExtensions": page["disabledExtensions"],
        }
        scripts = "".join(f'<script defer src="/static/lab/{name}"></script>' for name in page["scripts"])
        self.xsrf_token  # sets the cookie
        self.finish(f'<!DOCTYPE html><script id="jupyter-config-data" type="application/json">{json.dumps(config)}</script>{scripts}<body></body>')


class Answer(APIHandler):
    def initialize(self, answer):
        self.answer = answer

    @web.authenticated
    def get(self, name=""):
        self.finish(json.dumps(self.answer(name)))

    @web.authenticated
    def put(self, name=""):
        self.set_status(204)


class Quiet(WebSocketHandler):
    def check_origin(self, origin):
        return True


class Peer(ServerApp):
    def init_webapp(self):
        super().init_webapp()
        self.web_app.add_handlers(".*$", [
            (r"/lab(?:/tree/(.*))?", Page),
            (r"/static/lab/(.*)", AuthenticatedFileHandler, {"path": str(build / "static")}),
            (r"/lab/extensions/(.*)", AuthenticatedFileHandler, {"path": str(labextensions)}),
            (r"/lab/api/themes/(.*)", AuthenticatedFileHandler, {"path": str(build / "themes")}),
            (r"/lab/api/settings/?", Answer, {"answer": lambda _: {"settings": [setting(name) for name in schemas]}}),
            (r"/lab/api/settings/(.+)", Answer, {"answer": setting}),
            (r"/lab/api/workspaces/(.+)", Answer, {"answer": lambda name: {"data": {}, "metadata": {"id": name}}}),
            (r"/lab/api/translations/?(.*)", Answer, {"answer": lambda _: {"data": {}, "message": ""}}),
            (r"/api/me", Answer, {"answer": lambda _: {"identity": {"username": "peer", "name": "Peer", "display_name": "Peer", "initials": "P"}, "permissions": {}}}),
            (r"/api/events/subscribe", Quiet),
        ])


Peer.launch_instance([
    f"--ServerApp.root_dir={sys.argv[2]}", f"--ServerApp.port={sys.argv[3]}", f"--ServerApp.token={sys.argv[4]}", "--ServerApp.port_retries=0",
    "--ServerApp.ip=127.0.0.1", "--no-browser", "--allow-root",
])
