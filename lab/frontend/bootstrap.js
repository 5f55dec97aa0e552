/**
 * The first script of the page. It loads the labextensions that the page's configuration names, so that module federation can
 * settle which version of each shared package is used, and only then the application.
 */
const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
// eslint-disable-next-line no-undef
__webpack_public_path__ = `${config.fullStaticUrl}/`;

function loadScript(url) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${url} could not be loaded`));
    script.async = true;
    script.src = url;
    document.head.append(script);
  });
}

async function loadLabextension({ name, load }) {
  await loadScript(`${config.fullLabextensionsUrl}/${name}/${load}`);
  await __webpack_init_sharing__("default");
  await window._JUPYTERLAB[name].init(__webpack_share_scopes__.default);
}

async function start() {
  const loads = await Promise.allSettled((config.federated_extensions ?? []).map(loadLabextension));
  for (const load of loads) if (load.status === "rejected") console.error(load.reason);
  const { main } = await import("./main.js");
  await main();
}

start().catch((error) => {
  console.error(error);
  document.body.textContent = `JupyterLab could not start: ${error.message}. Reload the page; if it happens again, stop the server and start it again.`;
});
