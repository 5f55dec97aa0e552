/**
 * Lends tests a GPU as a browser would, at navigator.gpu: Dawn is an ES module with native code, which jest cannot load
 * inside a test. `haveGpu` says whether there is an adapter, before the tests are named.
 */
const { TestEnvironment } = require("jest-environment-node");

module.exports = class extends TestEnvironment {
  async setup() {
    await super.setup();
    this.global.haveGpu = false;
    try {
      const { create } = await import("webgpu");
      this.gpu = create([]);
      this.adapter = await this.gpu.requestAdapter();
      this.global.haveGpu = this.adapter !== null;
      this.global.navigator = { gpu: this.gpu };
      if (!this.adapter) console.error("webgpu tests are skipped: there is no graphics adapter");
    } catch (error) {
      console.error(`webgpu tests are skipped: ${error.message}`);
    }
  }
};
