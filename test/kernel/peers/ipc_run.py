"""Starts the kernel over ipc with Debian's jupyter_client, asks on each channel, shuts it down, prints what came back."""
import sys

from jupyter_client.manager import KernelManager

manager = KernelManager(kernel_name="gradbook", transport="ipc")
manager.start_kernel(cwd=sys.argv[1])
client = manager.client()
client.start_channels()
try:
    client.wait_for_ready(timeout=60)
    outputs = []
    client.execute_interactive("const name = await input('who? '); name + '!'", timeout=30, output_hook=outputs.append,
                               stdin_hook=lambda message: client.input("Ada"), allow_stdin=True)
    print("result", next(m["content"]["data"]["text/plain"] for m in outputs if m["msg_type"] == "execute_result"))
    print("alive", client.is_alive())
    client.execute("console.log('go'); while (true);")
    while client.get_iopub_msg(timeout=10)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    print("interrupted", client.get_shell_msg(timeout=10)["content"]["ename"])
finally:
    client.stop_channels()
    manager.shutdown_kernel()
print("ended", not manager.is_alive())
