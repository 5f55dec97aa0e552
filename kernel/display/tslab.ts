/** tslab's own `display`, for notebooks written for it: what it shows goes to the running cell. */
import { isBundle, type MimeBundle } from "./bundle";
import { currentOutput } from "./output";

interface TslabJupyter {
  /** The function through which tslab's public API writes; its own kernel would set it. */
  lastWriteDisplayData: (data: { data: MimeBundle; metadata?: Record<string, unknown>; transient?: { display_id?: string } }, update: boolean) => void;
}

export function loadTslab(): unknown {
  const jupyter = require("tslab/dist/jupyter.js") as TslabJupyter;
  jupyter.lastWriteDisplayData = ({ data, metadata, transient }, update) => {
    const bundle = isBundle(data) ? data : { "text/plain": String(data) };
    currentOutput()?.display(bundle, { metadata, display_id: transient?.display_id, update });
  };
  return require("tslab");
}
