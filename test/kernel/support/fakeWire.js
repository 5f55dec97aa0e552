/** Run by interrupt.test.ts: the server with a wire that writes down whether a cell can be interrupted when a status is told. */
const { writeSync } = require("node:fs");
const { startServer } = require("../../../dist/kernel/server.js");
const { createFlags, RUNNING } = require("../../../dist/kernel/wire/flags.js");

const flags = createFlags();
const told = [];
let handlers;
startServer({
  flags,
  attach: (given) => { handlers = given; },
  publish: (type, content) => {
    if (type !== "status") return;
    told.push([content.execution_state, Atomics.load(flags, RUNNING) !== 0]);
    if (told.length < 4) return;
    writeSync(1, JSON.stringify(told));
    // Cells must not be able to use process.exit.
    process.reallyExit(0);
  },
  send: () => undefined,
  settle: async () => undefined,
  close: async () => undefined,
}, () => undefined);
const request = (type, content) => ({ identities: [], header: { msg_type: type }, parent_header: {}, metadata: {}, content, buffers: [] });
handlers.message("shell", request("execute_request", { code: "1 + 1" }));
handlers.message("shell", request("comm_info_request", {}));
