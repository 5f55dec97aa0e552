#!/usr/bin/env node
"use strict";
// Plain JavaScript that any Node understands: it must be able to say that Node is too old, and to build what is not built yet.
const major = Number(process.versions.node.split(".")[0]);
if (major < 20) {
  console.error(`gradbook needs Node 20 or newer; this is Node ${process.versions.node}. Install a newer Node and run the command again.`);
  process.exit(2);
}
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const { isStale } = require("./stamp.js");

if (isStale()) {
  console.error("Compiling gradbook (about 20 s, once) ...");
  const root = path.join(__dirname, "..");
  const build = spawnSync(process.execPath, ["-r", "ts-node/register/transpile-only", path.join("scripts", "build.ts")], { cwd: root, stdio: ["ignore", 2, 2] });
  if (build.status !== 0) {
    console.error("gradbook could not be compiled; run `npm ci`, then `npm run build`, and read its messages.");
    process.exit(1);
  }
}
require("../dist/cli/main.js").main(process.argv.slice(2));
