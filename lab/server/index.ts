/** lab/server: JupyterLab's server, and the build of its front end. */
export { buildFrontend, frontendIsBuilt } from "./build.js";
export { stateDir } from "./paths.js";
export type { LabOptions, LabServer } from "./server.js";
export { startServer } from "./server.js";
