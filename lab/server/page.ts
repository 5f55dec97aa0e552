/** The one HTML page: JupyterLab's configuration, and the script that starts it. */

export function labPage(config: Record<string, unknown>, staticUrl: string, scripts: string[]): string {
  // "<" would let a file's name end the script element.
  const json = JSON.stringify(config).replaceAll("<", "\\u003c");
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>gradbook</title>
  <link rel="icon" type="image/svg+xml" href="/favicon.svg" class="favicon">
  <script id="jupyter-config-data" type="application/json">${json}</script>
${scripts.map((script) => `  <script defer src="${staticUrl}/${script}"></script>`).join("\n")}
</head>
<body>
  <noscript>JupyterLab needs JavaScript.</noscript>
</body>
</html>
`;
}

/** What a browser without the cookie gets. */
export function loginPage(): string {
  return `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>gradbook</title><link rel="icon" href="/favicon.svg"></head>
<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 36em; margin: 4em auto; padding: 0 1em">
  <h1>This JupyterLab asks for its token</h1>
  <p>Open the link that <code>gradbook lab</code> printed when it started, or paste the token that is in it:</p>
  <form action="/lab" method="get"><label>Token <input name="token" type="password" autocomplete="off" autofocus></label> <button>Open</button></form>
</body>
</html>
`;
}

/** A falling loss curve. */
export const favicon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#1f3a5f"/><path d="M6 7c3 12 8 17 20 18" fill="none" stroke="#7fd1ae" stroke-width="3.5" stroke-linecap="round"/><circle cx="26" cy="25" r="2.8" fill="#ffb454"/></svg>`;
