/** What the labextensions need besides JupyterLab's own configuration: TypeScript, and plotly.js taken as it is. */
"use strict";
const { rspack } = require("@rspack/core");

module.exports = {
  module: {
    rules: [{ test: /\.tsx?$/, loader: "builtin:swc-loader", options: { jsc: { parser: { syntax: "typescript", tsx: true }, target: "es2022" } }, type: "javascript/auto" }],
    // Minified already, and 4.6 MB: parsing it again would take longer than everything else.
    noParse: /plotly\.min\.js$/,
  },
  resolve: { extensions: [".ts", ".tsx", ".js"] },
  optimization: { minimizer: [new rspack.SwcJsMinimizerRspackPlugin({ exclude: /plotly-js/ })] },
  performance: { hints: false },
};
