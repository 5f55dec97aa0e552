/** Tests import the TypeScript sources; types are checked once, by `npm run typecheck`, so each file is only transpiled here. */
module.exports = {
  testMatch: ["<rootDir>/test/**/*.test.ts"],
  transform: { "^.+\\.ts$": ["ts-jest", { tsconfig: "<rootDir>/tsconfig.json", diagnostics: false }] },
  moduleNameMapper: {
    "^gradbook$": "<rootDir>/lib/index.ts",
    "^gradbook/autograder$": "<rootDir>/exercises/autograder/index.ts",
  },
  modulePathIgnorePatterns: ["<rootDir>/dist/", "<rootDir>/lab/"],
  globalSetup: "<rootDir>/test/support/setup.js",
  reporters: ["default", "<rootDir>/test/support/reporter.js"],
  testTimeout: 30_000,
  // @jupyterlab/services, the client in test/lab/services, keeps its polling timers after it was disposed of.
  forceExit: true,
};
