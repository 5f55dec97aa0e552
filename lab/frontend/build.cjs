/**
 * Builds JupyterLab's front end and our labextensions into the folder given as the first argument:
 *   page.json        the scripts that the page loads, and the plugins that stay off
 *   static/          the bundle
 *   schemas/ themes/ what the settings and theme services hand out
 *   labextensions/   prebuilt extensions, in the layout that every Jupyter server looks for
 * Plain JavaScript, because it runs on this package's own node_modules, before anything is compiled.
 */
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { spawn } = require("node:child_process");
const { Build } = require("@jupyter/builder");
const { rspack } = require("@rspack/core");
const { merge } = require("webpack-merge");
const baseConfig = require("@jupyter/builder/lib/webpack.config.base");
const core = require("@jupyterlab/core-meta/core.package.json");
const { dependencies } = require("../package.json");

const lab = path.join(__dirname, "..");
const output = path.resolve(process.argv[2]);
const generated = path.join(output, "generated");

/** Plugins that need what is not bundled: a news service, language servers. */
const disabledExtensions = [
  "@jupyterlab/apputils-extension:announcements",
  "@jupyterlab/fileeditor-extension:language-server",
  "@jupyterlab/notebook-extension:language-server",
];

/** Settings whose default here is another than JupyterLab's: [schema file, setting, default]. */
const defaults = [
  // The types and documentation that the kernel tells of what is completed.
  ["@jupyterlab/completer-extension/manager.json", "showDocumentationPanel", true],
];

/** The packages of ours that hold JupyterLab plugins; the others are libraries that they use. */
function plugins() {
  const extensions = {};
  const mimeExtensions = {};
  for (const name of Object.keys(dependencies)) {
    const { jupyterlab = {} } = require(`${name}/package.json`);
    const module = (entry) => (entry === true ? name : `${name}/${entry}`);
    if (jupyterlab.extension) extensions[name] = module(jupyterlab.extension);
    if (jupyterlab.mimeExtension) mimeExtensions[name] = module(jupyterlab.mimeExtension);
  }
  return { extensions, mimeExtensions };
}

/** Module federation: every core package is offered to labextensions, in the version that we bundle. */
function shared(names) {
  const result = {};
  const offer = (name) => {
    if (result[name] || !fs.existsSync(path.join(lab, "node_modules", name, "package.json"))) return;
    const { version, main, module, exports } = require(path.join(lab, "node_modules", name, "package.json"));
    if (main || module || exports) result[name] = { version, requiredVersion: `^${version}` };
  };
  for (const name of [...Object.keys(core.resolutions), ...names]) offer(name);
  for (const name of names) {
    for (const dependency of Object.keys(require(`${name}/package.json`).dependencies ?? {})) {
      if (dependency.startsWith("@jupyterlab/")) offer(dependency);
    }
  }
  for (const name of core.jupyterlab.singletonPackages) if (result[name]) result[name].singleton = true;
  return result;
}

/** The list of bundled plugins, as a module: [name, () => import(module)]. */
function pluginModule({ extensions, mimeExtensions }) {
  const list = (plugins) =>
    Object.entries(plugins).map(([name, module]) => `  [${JSON.stringify(name)}, () => import(${JSON.stringify(module)})],\n`).join("");
  return `import "./style.js";\nexport const extensions = [\n${list(extensions)}];\nexport const mimeExtensions = [\n${list(mimeExtensions)}];\n`;
}

function compile(config) {
  return new Promise((resolve, reject) => {
    const compiler = rspack(config);
    compiler.run((error, stats) => {
      compiler.close(() => {
        if (error) reject(error);
        else if (stats.hasErrors()) reject(new Error(stats.toString({ all: false, errors: true })));
        else resolve(stats);
      });
    });
  });
}

async function buildFrontend() {
  const { extensions, mimeExtensions } = plugins();
  const names = [...new Set([...Object.keys(extensions), ...Object.keys(mimeExtensions)])];
  fs.mkdirSync(generated, { recursive: true });
  const themeConfigs = Build.ensureAssets({ packageNames: names, output: generated, schemaOutput: output, themeOutput: output });
  for (const [file, setting, value] of defaults) {
    const schemaFile = path.join(output, "schemas", file);
    const schema = JSON.parse(fs.readFileSync(schemaFile, "utf8"));
    schema.properties[setting].default = value;
    fs.writeFileSync(schemaFile, JSON.stringify(schema));
  }
  fs.writeFileSync(path.join(generated, "plugins.js"), pluginModule({ extensions, mimeExtensions }));

  const stats = await compile([
    merge(baseConfig, {
      name: "lab",
      mode: "production",
      devtool: false,
      context: lab,
      entry: { main: path.join(__dirname, "bootstrap.js") },
      output: {
        path: path.join(output, "static"),
        filename: "[name].[contenthash].js",
        assetModuleFilename: "[contenthash][ext]",
        // The page tells the real path; bootstrap.js sets it.
        publicPath: "",
        library: { type: "var", name: ["_JUPYTERLAB", "CORE_OUTPUT"] },
      },
      resolve: { modules: [path.join(lab, "node_modules")], alias: { "gradbook-plugins": path.join(generated, "plugins.js") } },
      optimization: { splitChunks: { chunks: "all", cacheGroups: { jlab: { test: /[\\/]node_modules[\\/]@(jupyterlab|lumino)[\\/]/, name: "jlab" } } } },
      performance: { hints: false },
      plugins: [
        new rspack.container.ModuleFederationPluginV1({
          name: "CORE_FEDERATION",
          library: { type: "var", name: ["_JUPYTERLAB", "CORE_LIBRARY_FEDERATION"] },
          shared: shared(names),
        }),
      ],
    }),
    ...themeConfigs,
  ]);
  const { entrypoints } = stats.toJson({ all: false, entrypoints: true, children: true }).children.find((c) => c.name === "lab");
  const scripts = entrypoints.main.assets.map((asset) => asset.name).filter((name) => name.endsWith(".js"));
  fs.writeFileSync(path.join(output, "page.json"), JSON.stringify({ version: core.version, scripts, disabledExtensions }));
  fs.rmSync(generated, { recursive: true });
}

/** Each extension builds into the labextension/ folder beside its package.json; the result moves to labextensions/<its name>. */
async function buildExtension(name) {
  const source = path.join(lab, "extensions", name);
  const builder = require.resolve("@jupyter/builder/lib/build-labextension.js");
  const corePackage = require.resolve("@jupyterlab/core-meta/core.package.json");
  const child = spawn(process.execPath, [builder, "--core-package-file", corePackage, source], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout.on("data", (data) => (log += data));
  child.stderr.on("data", (data) => (log += data));
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`labextension ${name}: ${log}`);
  const built = path.join(source, "labextension");
  const target = path.join(output, "labextensions", JSON.parse(fs.readFileSync(path.join(built, "package.json"), "utf8")).name);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.rmSync(target, { recursive: true, force: true });
  fs.renameSync(built, target);
}

async function main() {
  await buildFrontend();
  const extensions = path.join(lab, "extensions");
  if (fs.existsSync(extensions)) for (const name of fs.readdirSync(extensions)) await buildExtension(name);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
