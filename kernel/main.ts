/** The kernel's entry: `node main.js CONNECTION_FILE`. Sockets first, so that clients are answered while TypeScript loads. */
import { kernelInfo } from "./info";
import { readConnection, Wire } from "./wire";

/** One line each for what goes wrong outside any cell; Jupyter shows it in its log. */
const writeLog = process.stderr.write.bind(process.stderr);
function log(text: string): void {
  writeLog(`gradbook kernel: ${text}\n`);
}

function main(): void {
  const [file] = process.argv.slice(2);
  if (file === undefined) {
    log("needs the path of a connection file; Jupyter starts it with one");
    process.exit(2);
  }
  let connection;
  try {
    connection = readConnection(file);
  } catch (error) {
    log((error as Error).message);
    process.exit(2);
  }
  const wire = new Wire(connection, kernelInfo(), log);
  // Node lets the worker start before it goes on to the nine megabytes of TypeScript.
  const { startServer } = require("./server.js") as typeof import("./server");
  startServer(wire, log);
}

main();
