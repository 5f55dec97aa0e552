"use strict";
/** Tells whether dist/ was built from the sources as they are now. Plain JavaScript, because it runs before anything is built. */
const fs = require("node:fs");
const path = require("node:path");
const { createHash } = require("node:crypto");

const root = path.join(__dirname, "..");
const stampFile = path.join(root, "dist", ".stamp");
const rooms = ["lib", "exercises", "solutions", "kernel", "lab", "cli", "scripts"];
const skipped = new Set(["node_modules", "build", "dist", "labextension"]);

/** A hash over the path, size and time of every source file. */
function fingerprint() {
  const hash = createHash("sha256");
  const visit = (dir) => {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || skipped.has(entry.name)) continue;
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) visit(file);
      else {
        const { size, mtimeMs } = fs.statSync(file);
        hash.update(`${path.relative(root, file)} ${size} ${mtimeMs}\n`);
      }
    }
  };
  for (const room of rooms) if (fs.existsSync(path.join(root, room))) visit(path.join(root, room));
  return hash.digest("hex");
}

/** An installed package ships dist/ without scripts/, and is never stale. */
function isStale() {
  if (!fs.existsSync(path.join(root, "scripts", "build.ts"))) return false;
  return !fs.existsSync(stampFile) || fs.readFileSync(stampFile, "utf8") !== fingerprint();
}

function writeStamp() {
  fs.mkdirSync(path.dirname(stampFile), { recursive: true });
  fs.writeFileSync(stampFile, fingerprint());
}

module.exports = { isStale, writeStamp };
