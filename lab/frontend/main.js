/** Collects the bundled plugins and those of the labextensions, and starts JupyterLab with them. */
import { PageConfig } from "@jupyterlab/coreutils";
import { JupyterLab } from "@jupyterlab/application";
import { IConnectionStatus, IServiceManager } from "@jupyterlab/services/lib/tokens";
import { PluginRegistry } from "@lumino/coreutils";
import * as bundled from "gradbook-plugins";

const labextensions = JSON.parse(PageConfig.getOption("federated_extensions") || "[]");

async function federated(name, module) {
  return (await window._JUPYTERLAB[name].get(module))();
}

export async function main() {
  const disabled = [];
  const deferred = [];
  const availablePlugins = [];

  /** The plugins of one package that are not disabled; notes the others. */
  const active = (scope, module) =>
    [module.__esModule || "default" in module ? module.default : module].flat().filter((plugin) => {
      const isDisabled = PageConfig.Extension.isDisabled(plugin.id);
      const { id, description, requires = [], optional = [], provides = null, autoStart } = plugin;
      availablePlugins.push({ id, description, requires, optional, provides, autoStart, enabled: !isDisabled, extension: scope });
      if (isDisabled) disabled.push(id);
      else if (PageConfig.Extension.isDeferred(id)) deferred.push(id);
      return !isDisabled;
    });

  /** Loads packages side by side and keeps their order; one that fails is reported and left out. */
  const load = async (packages) => {
    const results = await Promise.allSettled(packages.map(async ([scope, get]) => active(scope, await get())));
    for (const result of results) if (result.status === "rejected") console.error(result.reason);
    return results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
  };

  const replaced = new Set(labextensions.map(({ name }) => name));
  const own = (packages) => packages.filter(([name]) => !replaced.has(name));
  const theirs = (kind) => labextensions.filter((e) => e[kind]).map((e) => [e.name, () => federated(e.name, e[kind])]);

  const mimeExtensions = await load([...own(bundled.mimeExtensions), ...theirs("mimeExtension")]);
  const plugins = await load([...own(bundled.extensions), ...theirs("extension")]);
  const styles = labextensions.filter((e) => e.style && !PageConfig.Extension.isDisabled(e.name));
  await Promise.allSettled(styles.map((e) => federated(e.name, e.style)));

  const pluginRegistry = new PluginRegistry();
  pluginRegistry.registerPlugins(plugins);
  const lab = new JupyterLab({
    pluginRegistry,
    serviceManager: await pluginRegistry.resolveOptionalService(IServiceManager),
    connectionStatus: await pluginRegistry.resolveOptionalService(IConnectionStatus),
    mimeExtensions,
    disabled: { matches: disabled, patterns: PageConfig.Extension.disabled.map((pattern) => pattern.raw) },
    deferred: { matches: deferred, patterns: PageConfig.Extension.deferred.map((pattern) => pattern.raw) },
    availablePlugins,
  });
  if (PageConfig.getOption("exposeAppInBrowser").toLowerCase() === "true") window.jupyterapp = lab;
  lab.start({ ignorePlugins: deferred, bubblingKeydown: true });
}
