// The one executable: `vitrine daemon` is the engine, `vitrine registry` serves images, everything else is a client of the engine's API.
// Each part loads only itself.
const [command, ...rest] = process.argv.slice(2);

if (command === "daemon") {
  const { runDaemon } = await import("./daemon.ts");
  await runDaemon(rest);
} else if (command === "registry") {
  const { runRegistry } = await import("./registry-command.ts");
  await runRegistry(rest);
} else if (command === "unpack-layer") {
  // The engine's own: it gives large layers to such processes.
  const { runUnpackLayer } = await import("./archive/index.ts");
  await runUnpackLayer();
} else if (command === "compress-layer") {
  // The engine's own, as above.
  const { runCompressLayer } = await import("./archive/index.ts");
  runCompressLayer(rest[0]);
} else {
  const { runCli } = await import("./cli/index.ts");
  process.exitCode = await runCli(process.argv.slice(2));
}

export {};
