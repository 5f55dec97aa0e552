"""One start of one kernel, measured through Debian's jupyter_client: python3 measure.py '{"argv": [...], "language": "typescript"}'.

Prints one JSON object: milliseconds, except rss_mb (the process after its first cells, idle) and write_ns.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file

spec = json.loads(sys.argv[1])
python = spec["language"] == "python"
folder = tempfile.mkdtemp()
file, info = write_connection_file(os.path.join(folder, "connection.json"), key=os.urandom(16).hex().encode())
start = time.perf_counter()
process = subprocess.Popen([arg.replace("{connection_file}", file) for arg in spec["argv"]], cwd=folder,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
client = BlockingKernelClient(connection_file=file)
client.load_connection_file()
client.start_channels()


def since(begin):
    return (time.perf_counter() - begin) * 1000


def run(code, timeout=60):
    """Milliseconds until both the reply and the idle status are there."""
    begin = time.perf_counter()
    reply = client.execute_interactive(code, timeout=timeout, output_hook=lambda message: None, allow_stdin=False)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(json.dumps(reply["content"]))
    return since(begin)


def fifty(seed):
    """Fifty lines that differ from run to run."""
    if python:
        return "\n".join("v%d_%d = sum([n * %d for n in [1, 2, 3]])" % (seed, i, i) for i in range(50))
    return "\n".join("const v%d_%d: number = [1, 2, 3].map((n) => n * %d).reduce((a, b) => a + b, 0);" % (seed, i, i) for i in range(50))


def rss():
    with open("/proc/%d/status" % process.pid) as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


result = {}
try:
    client.kernel_info()
    client.get_shell_msg(timeout=60)
    result["kernel_info"] = since(start)
    # The reply alone: the subscription to output may not have taken effect yet.
    client.execute("1 + 1")
    client.get_shell_msg(timeout=60)
    result["first_cell"] = since(start)
    client.wait_for_ready(timeout=60)
    time.sleep(1)
    result["rss_mb"] = rss()
    result["trivial"] = statistics.median(run("1 + %d" % i) for i in range(30))
    result["fifty_lines"] = statistics.median(run(fifty(seed)) for seed in range(5))
    cells = [run(("x%d = %d" if python else "let x%d = %d") % (i, i)) for i in range(200)]
    result["growth"] = statistics.median(cells[-20:]) / statistics.median(cells[20:40])
    if not python:
        run("let target = 0;")
        run("function writes(n: number) { const t = performance.now(); for (let i = 0; i < n; i++) target = i; return (performance.now() - t) / n * 1e6 }")
        messages = []
        client.execute_interactive("Math.min(writes(2e5), writes(2e5), writes(2e5), writes(2e5), writes(2e5))", timeout=60, output_hook=messages.append)
        result["write_ns"] = float(next(m["content"]["data"]["text/plain"] for m in messages if m["msg_type"] in ("execute_result", "display_data")))
    try:
        result["print_20000"] = run("for i in range(20000): print(i)" if python else "for (let i = 0; i < 20000; i++) console.log(i)", timeout=15)
    except Exception:
        # tslab loses the end of such a cell, its idle status with it.
        result["print_20000"] = None
finally:
    client.stop_channels()
    process.kill()
    process.wait()
print(json.dumps(result))
