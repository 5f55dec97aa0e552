/**
 * Before any test file: without a graphics driver, Debian's chromium lends its emulated GPU. It is set here, in the parent
 * of the test processes, because Dawn reads the real environment, which a test file cannot change.
 */
const fs = require("node:fs");

module.exports = () => {
  const emulated = "/usr/lib/chromium/vk_swiftshader_icd.json";
  if (!process.env.VK_ICD_FILENAMES && !process.env.VK_DRIVER_FILES && fs.existsSync(emulated)) {
    process.env.VK_ICD_FILENAMES = emulated;
    process.env.XDG_RUNTIME_DIR ??= require("node:os").tmpdir();
  }
};
