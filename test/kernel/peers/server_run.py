"""Starts Debian's jupyter server on a folder, runs one cell over its REST and websocket interface, prints the result."""
import json
import subprocess
import sys
import time
import urllib.request
import uuid

import tornado.ioloop
import tornado.websocket

folder, port, token = sys.argv[1], sys.argv[2], "test-token"
server = subprocess.Popen(
    [sys.executable, "-m", "jupyter_server", "--ServerApp.port=" + port, "--ServerApp.port_retries=0", "--no-browser",
     "--ServerApp.token=" + token, "--allow-root", "--ServerApp.root_dir=" + folder],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
base = "http://127.0.0.1:" + port


def call(path, body=None):
    request = urllib.request.Request(base + path, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "token " + token, "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))


async def run_cell(kernel, code):
    socket = await tornado.websocket.websocket_connect(
        "ws://127.0.0.1:%s/api/kernels/%s/channels?token=%s" % (port, kernel, token))
    header = {"msg_id": uuid.uuid4().hex, "username": "t", "session": "s", "msg_type": "execute_request", "version": "5.3"}
    await socket.write_message(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {},
                                           "content": {"code": code, "silent": False}, "buffers": []}))
    result = None
    while result is None:
        message = json.loads(await socket.read_message())
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        if message["msg_type"] == "execute_result":
            result = message["content"]["data"]["text/plain"]
        if message["msg_type"] == "error":
            result = message["content"]["evalue"]
    socket.close()
    while await socket.read_message() is not None:
        pass
    return result


try:
    for attempt in range(100):
        try:
            specs = call("/api/kernelspecs")
            break
        except OSError:
            time.sleep(0.2)
    print("spec", specs["kernelspecs"]["gradbook"]["spec"]["display_name"], sorted(specs["kernelspecs"]["gradbook"]["resources"]))
    kernel = call("/api/kernels", {"name": "gradbook"})["id"]
    print("result", tornado.ioloop.IOLoop.current().run_sync(lambda: run_cell(kernel, "const t = tensor([[1, 2], [3, 4]]); t.matmul(t).toArray().join()")))
    request = urllib.request.Request(base + "/api/kernels/" + kernel, method="DELETE", headers={"Authorization": "token " + token})
    print("deleted", urllib.request.urlopen(request, timeout=30).status)
finally:
    server.terminate()
    server.wait()
