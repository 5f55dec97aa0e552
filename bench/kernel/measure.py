"""One start of one kernel, measured through Debian's jupyter_client:

    python3 measure.py '{"argv": [...], "language": "typescript", "skip": ["print_20000"]}'

Prints one JSON object: milliseconds, except rss_mb (the process after its first cells, idle), write_ns, and the growths
(what the last of 200 cells costs, over what the 20th does), each in the time that passes and, as _cpu, in the processor
time of the kernel's threads, which other work on the machine hardly changes.
"""
import glob
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


def run(code, timeout=15):
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


def figure(names, measured):
    """Adds a figure, or some that are measured together; null, and a line on stderr, when this kernel cannot give it in time."""
    names = names.split()
    if names[0] in spec["skip"]:
        return
    try:
        values = measured()
    except Exception as error:
        values = (None,) * len(names)
        print("%s: no answer (%s)" % (names[0], type(error).__name__), file=sys.stderr)
        settle()
    result.update(zip(names, values if isinstance(values, tuple) else (values,)))


def settle():
    """After a figure that was given up: the kernel may still be at it, or have lost the end of a cell."""
    try:
        client.wait_for_ready(timeout=10)
    except Exception:
        pass


def kernel_info():
    client.kernel_info()
    client.get_shell_msg(timeout=60)
    return since(start)


def first_cell():
    # The reply alone: the subscription to output may not have taken effect yet.
    client.execute("1 + 1")
    client.get_shell_msg(timeout=60)
    return since(start)


def idle_memory():
    client.wait_for_ready(timeout=60)
    time.sleep(3)
    return rss()


def declarations(i):
    """A function, a type and a class, used by the cell after next and later ones."""
    used = max(0, i - 2), i // 2
    if python:
        uses = " + ".join("f%d(C%d(1).n)" % (k, k) for k in used) if i else "0"
        return "def f%d(x): return x * %d\nclass C%d:\n    def __init__(self, n): self.n = n\nr%d = %s" % (i, i, i, i, uses)
    uses = " + ".join("f%d(new C%d(1).n)" % (k, k) for k in used) if i else "0"
    return ("interface I%d { n: number }\nfunction f%d(x: number): number { return x * %d }\n"
            "class C%d implements I%d { constructor(readonly n: number) {} }\nconst r%d: number = %s" % (i, i, i, i, i, i, uses))


def cpu():
    """Processor time of all threads so far, in milliseconds."""
    total = 0
    for file in glob.glob("/proc/%d/task/*/schedstat" % process.pid):
        with open(file) as stat:
            total += int(stat.read().split()[0])
    return total / 1e6


def last_over_first(times):
    """From a line through the cells after the 20th: its slope is the median of the slopes between any two (Theil and Sen)."""
    times = times[20:]
    pairs = [(i, j) for j in range(len(times)) for i in range(j)]
    step = statistics.median((times[j] - times[i]) / (j - i) for i, j in pairs)
    first = statistics.median(time - step * i for i, time in enumerate(times))
    return (first + step * (len(times) - 1)) / first


def growth(cell):
    """In the time that passes, and in processor time, where what a kernel does after its answer counts for that cell."""
    passed, used = [], [cpu()]
    for i in range(200):
        passed.append(run(cell(i)))
        used.append(cpu())
    return last_over_first(passed), last_over_first([after - before for before, after in zip(used, used[1:])])


def write_ns():
    run("let target = 0;")
    run("function writes(n: number) { const t = performance.now(); for (let i = 0; i < n; i++) target = i; return (performance.now() - t) / n * 1e6 }")
    messages = []
    client.execute_interactive("Math.min(writes(2e5), writes(2e5), writes(2e5), writes(2e5), writes(2e5))", timeout=20, output_hook=messages.append)
    return float(next(m["content"]["data"]["text/plain"] for m in messages if m["msg_type"] in ("execute_result", "display_data")))


try:
    figure("kernel_info", kernel_info)
    figure("first_cell", first_cell)
    figure("rss_mb", idle_memory)
    figure("trivial", lambda: statistics.median(run("1 + %d" % i) for i in range(30)))
    figure("fifty_lines", lambda: statistics.median(run(fifty(seed)) for seed in range(5)))
    figure("growth growth_cpu", lambda: growth(lambda i: ("x%d = %d" if python else "let x%d = %d") % (i, i)))
    figure("growth_declared growth_declared_cpu", lambda: growth(declarations))
    if not python:
        figure("write_ns", write_ns)
    # Last, since tslab loses the end of such a cell, its idle status with it.
    figure("print_20000", lambda: run("for i in range(20000): print(i)" if python else "for (let i = 0; i < 20000; i++) console.log(i)"))
finally:
    client.stop_channels()
    process.kill()
    process.wait()
print(json.dumps(result))
