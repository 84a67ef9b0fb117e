// The one executable: `vitrine daemon` is the engine, everything else is a client of its API. Each half loads only itself.
const [command, ...rest] = process.argv.slice(2);

if (command === "daemon") {
  const { runDaemon } = await import("./daemon.ts");
  await runDaemon(rest);
} else {
  const { runCli } = await import("./cli/index.ts");
  process.exitCode = await runCli(process.argv.slice(2));
}

export {};
