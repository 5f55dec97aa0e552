/** Ends a run with the counts on one line, and names every test that did not run: a skipped test must never look like a passed one. */
module.exports = class {
  onRunComplete(_contexts, results) {
    const skipped = results.testResults.flatMap((file) =>
      file.testResults.filter((t) => t.status === "pending").map((t) => t.fullName));
    for (const name of skipped) console.log(`SKIPPED: ${name}`);
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    console.log(`\n${results.numPassedTests} passed, ${failed} failed, ${skipped.length} skipped`);
  }
};
